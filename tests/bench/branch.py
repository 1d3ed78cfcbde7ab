#!/usr/bin/python3
"""What a branch costs, beside the bare fork of the same process, measured in turn in one run.

    tests/bench/branch.py [--rounds N]        (binaries: bazel-bin, or PYEXEC_BIN_DIR)

For sessions with 0, 50 MiB and 1 GiB of touched memory: the time from ForkSession to the branch's
first result, and inside of the same session the time from os.fork() to a byte from the child;
medians and their ratio. Then the memory (Pss) of each of 100 branches that touch nothing more.
"""

import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), ".."))

from support import stubs  # noqa: E402

MADE = stubs.install()

from support.api import ss  # noqa: E402
from support.client import RPC_TIMEOUT, Client  # noqa: E402
from support.daemon import Daemon  # noqa: E402

MIB = 1 << 20
SIZES = (("0", 0), ("50 MiB", 50 * MIB), ("1 GiB", 1024 * MIB))
WIDTH = 100
TOUCH = """
import os, time
ballast = bytearray({size})
for i in range(0, {size}, 4096): ballast[i] = 1
"""
BARE_FORK = """
r, w = os.pipe()
t = time.perf_counter()
pid = os.fork()
if pid == 0:
    os.write(w, b'x'); os._exit(0)
os.read(r, 1)
took = time.perf_counter() - t
os.waitpid(pid, 0); os.close(r); os.close(w)
print(took)
"""


def fork(client, session, count=1):
    request = ss.ForkSessionRequest(session_id=session, count=count)
    made = client.sessions.ForkSession(request, timeout=RPC_TIMEOUT).sessions
    return [s.session_id for s in made]


def branch_once(client, session):
    began = time.perf_counter()
    (branch,) = fork(client, session)
    client.execute("pass", branch).ok()
    took = time.perf_counter() - began
    client.delete(branch)
    return took


def pss_of(pid):
    with open(f"/proc/{pid}/smaps_rollup", encoding="ascii") as rollup:
        for line in rollup:
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    raise AssertionError("no Pss")


def times(client, rounds):
    print(f"{'touched':>8} {'branch ms':>10} {'bare fork ms':>13} {'ratio':>6}")
    for name, size in SIZES:
        session = client.create().session_id
        client.execute(TOUCH.format(size=size), session).ok()
        branch, bare = [], []
        for _ in range(rounds):
            branch.append(branch_once(client, session))
            bare.append(float(client.execute(BARE_FORK, session).ok().text))
        a, b = statistics.median(branch) * 1e3, statistics.median(bare) * 1e3
        print(f"{name:>8} {a:10.2f} {b:13.2f} {a / b:6.2f}")
        client.delete(session)


def memory(client):
    session = client.create().session_id
    client.execute(TOUCH.format(size=50 * MIB), session).ok()
    made = fork(client, session, WIDTH)
    pids = [int(client.execute("import os; print(os.getpid())", s).ok().text) for s in made]
    each = [pss_of(pid) for pid in pids]
    print(f"Pss of {WIDTH} branches of a 50 MiB session: median "
          f"{statistics.median(each) / MIB:.2f} MiB, most {max(each) / MIB:.2f} MiB")
    for one in made:
        client.delete(one)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    daemon = Daemon()
    with Client(daemon.address) as client:
        times(client, rounds)
        memory(client)
    daemon.stop()
    daemon.close()


if __name__ == "__main__":
    try:
        main()
    finally:
        if MADE:
            __import__("shutil").rmtree(MADE, ignore_errors=True)
