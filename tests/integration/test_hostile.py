"""Programs made to break the service (tests/hostile), each beside a session that must not notice.

A program's first line says what its result must be: `# expect: status=A|B ...`. Words:
status, alive (yes or no: the session after it), exc (exc_type), code, signal (numbers, a|b),
stdout (exact), sorted (stdout with its lines sorted), stderr (a part); timeout and
max_output_bytes go into the spec."""

import os
import shlex

import pytest
from support.api import ty
from support.client import Client
from support.daemon import Daemon
from support.processes import exists
from support.stubs import TESTS
from support.waiting import until

FOLDER = os.path.join(TESTS, "hostile")
PROGRAMS = sorted(f.removesuffix(".py") for f in os.listdir(FOLDER) if f.endswith(".py"))
WORDS = {"status", "alive", "exc", "code", "signal", "stdout", "sorted", "stderr", "timeout",
         "max_output_bytes"}


@pytest.fixture(scope="module")
def arena():
    """One daemon for all hostile programs of a worker, with a healthy session."""
    daemon = Daemon("--interrupt-grace", "200ms")
    try:
        with Client(daemon.address) as client:
            healthy = client.create().session_id
            client.execute("beats = 0", healthy).ok()
            yield daemon, client, healthy
        daemon.stop()
    finally:
        daemon.close()


def read_program(name):
    with open(os.path.join(FOLDER, f"{name}.py"), encoding="utf-8") as file:
        code = file.read()
    first = code.partition("\n")[0]
    assert first.startswith("# expect: "), first
    words = dict(w.split("=", 1) for w in shlex.split(first.removeprefix("# expect: ")))
    assert set(words) <= WORDS, words
    for key in ("stdout", "sorted"):
        if key in words:
            words[key] = words[key].replace("\\n", "\n")
    return code, words


def beat(client, healthy, number):
    client.execute("beats += 1\nprint(beats)", healthy).ok(f"{number}\n")


def check(got, want):
    result = got.result
    assert got.status in want["status"].split("|"), f"{got.status}\n{result}\n{got.stderr[-800:]}"
    if "exc" in want:
        assert result.exc_type == want["exc"]
    if "code" in want:
        assert result.exit_code == int(want["code"])
    if "signal" in want:
        assert str(result.signal) in want["signal"].split("|")
    if "alive" in want:
        assert result.session_alive == (want["alive"] == "yes"), result
    if "stdout" in want:
        assert got.text == want["stdout"]
    if "sorted" in want:
        assert "".join(sorted(got.text.splitlines(True))) == want["sorted"]
    if "stderr" in want:
        assert want["stderr"] in got.stderr.decode()


@pytest.mark.parametrize("name", PROGRAMS)
def test_hostile_program_has_its_result_and_harms_nobody(arena, name):
    daemon, client, healthy = arena
    code, want = read_program(name)
    zygote = daemon.zygote
    start = int(client.execute("print(beats)", healthy).ok().text)
    spec = {"timeout": float(want["timeout"])} if "timeout" in want else {"timeout": 60}
    if "max_output_bytes" in want:
        spec["max_output_bytes"] = int(want["max_output_bytes"])
    made = client.create()
    pid = int(client.execute("import os\nprint(os.getpid())\ndel os", made.session_id).ok().text)
    stream = client.stream(code, made.session_id, **spec)
    beat(client, healthy, start + 1)
    check(stream.finish(), want)
    beat(client, healthy, start + 2)
    # What it left behind is there until its session ends, and no longer.
    used = client.get_session(made.session_id)
    assert used.state in (ty.SESSION_STATE_IDLE, ty.SESSION_STATE_DEAD)
    client.delete(made.session_id)
    until(lambda: not exists(pid), "its process is gone")
    until(lambda: not os.path.lexists(made.working_directory), "its directory is gone")
    assert daemon.zygote == zygote and daemon.exit_status is None
    until(lambda: all(p.parent in (daemon.cage.pid, daemon.pid, daemon.launcher, zygote)
                      for p in daemon.tree()),
          lambda: f"nothing but sessions is left below the zygote\n{daemon.tree_text()}")
    beat(client, healthy, start + 3)


def test_a_session_stays_usable_after_the_milder_programs(arena):
    """One after the other in one session: each next run finds working streams and interrupts."""
    _, client, _ = arena
    with client.session() as session:
        for name in PROGRAMS:
            code, want = read_program(name)
            if want.get("alive") != "yes" or "timeout" in want or name in CHANGE_FOR_GOOD:
                continue
            if not client.execute(code, session, timeout=5).result.session_alive:
                client.restart(session)  # it did not end in time
            client.execute("import sys\nprint('out')\nprint('err', file=sys.stderr)", session).ok()
            got = client.execute("while True: pass", session, timeout=0.2)
            assert got.status == "TIMEOUT_ERROR", name
            if not got.result.session_alive:
                client.restart(session)


# They take away from their own session for good what the check after them needs.
CHANGE_FOR_GOOD = {"os_functions_patched", "no_descriptors_left", "closed_output", "stdout_is_a_file",
                   "nothing_may_be_read", "streams_made_of_evil", "detached_streams", "thread_prints_for_ever"}
