"""Faults from outside: killed and stopped processes, missing descriptors, slow and vanished clients."""

import concurrent.futures
import os
import signal
import socket
import subprocess
import sys

import grpc
import pytest
from support import processes
from support.api import ex, sv
from support.client import Client, new_id
from support.faults import Fault, refused
from support.stubs import TESTS
from support.waiting import SANITIZED, until

LEAVE = "import subprocess\nsubprocess.Popen(['sh', '-c', 'setsid sleep 1000 & sleep 1000'])\n"
SPIN = "print('on')\nwhile True: pass"


def test_kill_9_of_the_daemon_leaves_no_process(own_daemon):
    """Sessions that run, that stopped themselves, that swallow everything, and their children."""
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    codes = [LEAVE + SPIN, "import os\nprint('on')\nos.kill(os.getpid(), 19)",
             "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))\n" + SPIN,
             "import os\nos.setpgid(0, 0) if os.getpid() != os.getsid(0) else None\n" + SPIN]
    for code in codes:
        client.stream(code).until_output(b"on\n")
    client.execute(LEAVE, client.create().session_id).ok()
    assert len(daemon.tree()) >= 8
    daemon.signal(signal.SIGKILL)
    assert daemon.wait_exit() == -signal.SIGKILL
    daemon.wait_empty()


def test_a_daemon_starts_again_where_another_was_killed(own_daemon):
    """The same state directory and socket; what the dead one left is cleaned away."""
    first = own_daemon()
    client = own_daemon.connect(first)
    session = client.create().session_id
    client.execute("open('left over', 'w')", session).ok()
    first.signal(signal.SIGKILL)
    first.wait_empty()
    second = own_daemon(folder=first.folder)
    again = own_daemon.connect(second)
    with refused("SESSION_LOST", grpc.StatusCode.NOT_FOUND):
        again.execute("1", session)
    again.execute("print('fine')").ok("fine\n")
    assert not os.path.exists(os.path.join(second.state, "work", session))


def test_kill_9_of_the_zygote_loses_no_session(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    sessions = [client.create().session_id for _ in range(4)]
    pids = [int(client.execute("import os\nx = 1\nprint(os.getpid())", s).ok().text)
            for s in sessions]
    stream = client.stream("print('on')\nprint(input())", sessions[0],
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until_output(b"on\n")
    old = daemon.zygote
    os.kill(old, signal.SIGKILL)
    until(lambda: not processes.exists(old), "the old zygote is reaped")
    client.write_stdin(sessions[0], stream.outcome.execution_id, b"still here\n", eof=True)
    stream.finish().ok("on\nstill here\n")
    for session, pid in zip(sessions, pids):
        client.execute("print(x, os.getpid())", session).ok(f"1 {pid}\n")
    # New sessions, limits, interrupts, crashes and ends work, on old and on new sessions.

    def accepted():
        try:
            return client.execute("print('new')")
        except grpc.RpcError as error:
            assert Fault(error).reason == "FORK_FAILED", error
            return None
    until(accepted, "another zygote forks").ok("new\n")
    client.execute("while True: pass", sessions[1], timeout=0.2).expect("TIMEOUT_ERROR")
    client.execute("print(x)", sessions[1]).ok("1\n")
    crashed = client.execute("os.kill(os.getpid(), 11)", sessions[2]).expect("CRASHED")
    assert crashed.result.signal == signal.SIGSEGV
    exited = client.execute("os._exit(5)", sessions[3]).expect("EXITED")
    assert exited.result.exit_code == 5
    client.restart(sessions[3])
    client.execute("print('restarted')", sessions[3]).ok("restarted\n")
    for session, pid in zip(sessions, pids):
        client.delete(session)
        until(lambda pid=pid: not processes.exists(pid), f"{pid} is gone")


def test_children_of_adopted_sessions_are_cleaned_up_too(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    child = int(client.execute("import subprocess\n"
                               "p = subprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
                               "print(p.pid)", session).ok().text)
    old = daemon.zygote
    os.kill(old, signal.SIGKILL)
    until(lambda: not processes.exists(old), "the old zygote is reaped")
    client.execute("print('lives')", session).ok("lives\n")
    assert processes.alive(child)
    client.delete(session)
    until(lambda: not processes.exists(child), "the child is gone with its session")


def test_a_zygote_that_dies_again_and_again(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    client.execute("x = 1", session).ok()
    for _ in range(3):
        pid = daemon.zygote
        os.kill(pid, signal.SIGKILL)
        until(lambda: not processes.exists(pid), "it is reaped")

        def works():
            try:
                return client.execute("print('new')").status == "OK"
            except grpc.RpcError as error:
                assert Fault(error).reason == "FORK_FAILED", error
                return False
        until(works, "another zygote forks")
    client.execute("print(x)", session).ok("1\n")


def test_a_stopped_zygote_is_replaced(own_daemon):
    """A fork unanswered for 10 s: the zygote is killed; living sessions go on all the while."""
    daemon = own_daemon(spares=0)
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    old = daemon.zygote
    os.kill(old, signal.SIGSTOP)
    client.execute("print('goes on')", session).ok("goes on\n")

    def works():
        try:
            return client.execute("print('new')").status == "OK"
        except grpc.RpcError as error:
            assert Fault(error).reason == "FORK_FAILED", error
            return False
    until(works, "another zygote forks")
    assert not processes.exists(old)
    client.execute("print('still')", session).ok("still\n")


def test_a_dead_launcher_ends_the_daemon_but_not_without_results(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    stream = client.stream(SPIN)
    stream.until_output(b"on\n")
    os.kill(daemon.launcher, signal.SIGKILL)
    got = stream.finish()
    assert got.status == "SERVER_ERROR", got.result
    assert daemon.wait_exit() == 1
    daemon.wait_empty()


def test_exhausted_descriptors_are_an_error_and_not_the_end(own_daemon):
    daemon = own_daemon(nofile=300, spares=0)
    client = own_daemon.connect(daemon)
    made, fault = [], None
    while fault is None and len(made) < 300:
        try:
            made.append(client.create().session_id)
        except grpc.RpcError as error:
            fault = Fault(error)
    assert fault is not None and made
    assert fault.reason in ("NODE_AT_CAPACITY", "FORK_FAILED"), fault.text
    client.execute("print('works')", made[0]).ok("works\n")
    before = len(processes.descriptors(daemon.pid))
    for _ in range(20):
        with pytest.raises(grpc.RpcError):
            client.create()
    assert len(processes.descriptors(daemon.pid)) == before
    for session in made:
        client.delete(session)
    client.execute("print('room again')").ok("room again\n")


def test_connections_until_descriptors_run_out(own_daemon):
    """accept() fails for want of descriptors: those connected go on, and later ones get in."""
    daemon = own_daemon(nofile=120, spares=0)
    client = own_daemon.connect(daemon)
    client.ping()
    raw = []
    for _ in range(150):
        one = socket.socket(socket.AF_UNIX)
        one.setblocking(False)
        try:
            one.connect(daemon.socket)
        except BlockingIOError:
            one.close()
            break
        raw.append(one)
    client.ping()
    for one in raw:
        one.close()
    with Client(daemon.address) as late:
        late.server.Ping(_ping(), timeout=60, wait_for_ready=True)


def _ping():
    return sv.PingRequest()


def test_a_slow_reader_costs_no_memory_and_slows_nobody(own_daemon):
    """It reads its first event and then nothing, while 300 MB come."""
    daemon = own_daemon("--output-bytes", "4MiB")
    slow, client = own_daemon.connect(daemon), own_daemon.connect(daemon)
    session, other = client.create().session_id, client.create().session_id
    stream = slow.stream("import os\nfor i in range(3000): os.write(1, b'%0100000d' % i)", session)
    stream.until(lambda o: o.started)
    for _ in range(50):
        client.execute("print('quick')", other).ok("quick\n")
    done = client.finished(session, stream.outcome.execution_id)
    assert done.result.stdout_bytes == 300_000_000
    with open(f"/proc/{daemon.pid}/status", encoding="ascii") as status:
        peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    assert peak < 150_000 * SANITIZED, f"{peak} KiB"
    got = stream.finish()
    assert got.result.dropped_bytes == sum(g.size for g in got.gaps) or got.gaps
    assert got.offsets[1] == 300_000_000


def test_vanished_clients_by_the_hundred(own_daemon):
    """Connections that break in the middle of everything leave no descriptor and no process."""
    daemon = own_daemon("--interrupt-grace", "100ms", "--max-running", "100")
    client = own_daemon.connect(daemon)
    client.execute("pass").ok()

    def settled():
        return len(daemon.session_processes()) == 2
    until(settled, "two spares")
    before = len(processes.descriptors(daemon.pid))

    def vanish(_):
        command = [sys.executable, "-m", "support.vanishing_client", daemon.address, "20"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=TESTS) as process:
            assert process.stdout.readline() == b"all there\n"
            process.kill()

    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        list(pool.map(vanish, range(5)))
    until(settled, lambda: f"two spares\n{daemon.tree_text()}")
    until(lambda: len(processes.descriptors(daemon.pid)) <= before + 1,
          lambda: f"{before} descriptors: {processes.descriptors(daemon.pid)}")
    client.execute("print('fine')").ok("fine\n")


def test_bytes_that_are_no_http2(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    for junk in (b"GET / HTTP/1.1\r\n\r\n", b"\0" * 1000, b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff",
                 b"", b"\x16\x03\x01\x02\x00" + b"x" * 600):
        with socket.socket(socket.AF_UNIX) as raw:
            raw.connect(daemon.socket)
            raw.sendall(junk)
            raw.shutdown(socket.SHUT_WR)
            while True:
                try:
                    if not raw.recv(65536):
                        break
                except ConnectionResetError:
                    break
        client.ping()


def test_a_killed_session_process_is_a_crash_with_a_result(client, session):
    """From outside: another process of the same user, as the kernel's OOM killer would."""
    stream = client.stream("import os\nprint(os.getpid())\nwhile True: pass", session)
    stream.until_output(b"\n")
    os.kill(int(stream.outcome.text), signal.SIGKILL)
    got = stream.finish().expect("CRASHED")
    assert got.result.signal == signal.SIGKILL and not got.result.session_alive


def test_a_killed_idle_session_is_dead_and_says_so(client, session):
    pid = int(client.execute("import os\nprint(os.getpid())", session).ok().text)
    os.kill(pid, signal.SIGKILL)
    until(lambda: not processes.exists(pid), "it is reaped")

    def dead():
        return client.get_session(session).state == 4
    until(dead, "the session is DEAD")
    with refused("SESSION_DEAD", grpc.StatusCode.FAILED_PRECONDITION):
        client.execute("1", session, new_id())


def test_a_killed_spare_is_replaced(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    until(lambda: len(daemon.session_processes()) == 2, "two spares")
    for spare in daemon.session_processes():
        os.kill(spare.pid, signal.SIGKILL)
    for _ in range(3):
        client.execute("print('works')").ok("works\n")
