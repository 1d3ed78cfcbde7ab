"""ForkSession: branches of a live session."""

import os
import signal

import grpc
import pytest
from support import processes
from support.api import ss, ty
from support.client import RPC_TIMEOUT, new_id
from support.faults import Fault, refused
from support.waiting import until

BUSY = grpc.StatusCode.ABORTED
PRECONDITION = grpc.StatusCode.FAILED_PRECONDITION
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def fork(client, session, **fields):
    response = client.sessions.ForkSession(
        ss.ForkSessionRequest(session_id=session, **fields), timeout=RPC_TIMEOUT)
    return response


def branches(client, session, count=1, **fields):
    return [s.session_id for s in fork(client, session, count=count, **fields).sessions]


@pytest.fixture
def family(client, session):
    """Deletes every branch at the end."""
    made = []

    def make(parent, count=1, **fields):
        new = branches(client, parent, count, **fields)
        made.extend(new)
        return new

    yield make
    for one in made:
        client.delete(one)


def test_branches_have_everything_and_go_separate_ways(client, session, family):
    client.execute("x = [1, 2]\ndef f(): return sum(x)\nimport math", session).ok()
    a, b = family(session, 2)
    client.execute("x.append(10); print(f(), math.pi > 3)", a).ok("13 True\n")
    client.execute("x.append(20); print(f())", b).ok("23\n")
    client.execute("print(f())", session).ok("3\n")


def test_lineage_and_facts_of_a_branch(client, session, family):
    (branch,) = family(session, labels={"step": "1"})
    facts = client.get_session(branch)
    assert facts.parent_session_id == session
    assert facts.state == ty.SESSION_STATE_IDLE
    assert facts.labels == {"step": "1"}
    assert client.get_session(session).state == ty.SESSION_STATE_IDLE


def test_a_branch_outlives_its_parent(client, family):
    parent = client.create().session_id
    client.execute("kept = 'yes'", parent).ok()
    (branch,) = family(parent)
    client.delete(parent)
    client.execute("print(kept)", branch).ok("yes\n")


def test_a_branch_is_a_process_of_its_own(client, daemon, session, family):
    (branch,) = family(session)
    pid = int(client.execute("import os; print(os.getpid())", branch).ok().text)
    parent = int(client.execute("import os; print(os.getpid())", session).ok().text)
    assert pid != parent
    # The reaper of its parent reaps it; its parent cannot see it.
    assert processes.Process(pid).parent == processes.Process(parent).parent
    code = ("import os\ntry: print(os.waitpid(-1, os.WNOHANG))\n"
            "except ChildProcessError: print('none')")
    client.execute(code, session).ok("none\n")
    client.delete(branch)
    until(lambda: not processes.exists(pid), "the branch is gone")


def test_random_generators_differ(client, session, family):
    client.execute("import random, uuid, secrets; random.seed(1)", session).ok()
    made = family(session, 3)
    code = "print(random.random(), uuid.uuid4(), secrets.token_hex(8))"
    seen = [client.execute(code, s).ok().text.split() for s in [session, *made]]
    for column in zip(*seen, strict=True):
        assert len(set(column)) == 4, column


def test_numpy_generators_differ_and_blas_works(client, session, family):
    client.execute("import numpy\nnumpy.random.seed(1)\na = numpy.ones((200, 200)); (a @ a).sum()",
                   session).ok()
    made = family(session, 2)
    code = "print(numpy.random.random(), int((a @ a)[0, 0]))"
    seen = [client.execute(code, s).ok().text.split() for s in [session, *made]]
    assert len({n for n, _ in seen}) == 3
    assert {p for _, p in seen} == {"200"}


def test_output_order_and_attribution_in_a_branch(client, session, family):
    client.execute("print('before')", session).ok()
    (branch,) = family(session)
    code = ("import os, sys, subprocess\n"
            "for i in range(20):\n"
            "    print('a', i); print('b', i, file=sys.stderr); os.write(1, b'c\\n')\n"
            "    subprocess.run(['sh', '-c', 'echo d >&2'])")
    out = client.execute(code, branch).ok()
    expected = []
    for i in range(20):
        expected += [("out", f"a {i}\n".encode()), ("err", f"b {i}\n".encode()), ("out", b"c\n"),
                     ("err", b"d\n")]
    joined = []
    for name, data in expected:
        if joined and joined[-1][0] == name:
            joined[-1] = (name, joined[-1][1] + data)
        else:
            joined.append((name, data))
    assert out.merged == joined


def test_modules_that_know_about_forks(client, session, family):
    """threading, asyncio, multiprocessing, sqlite, open and temporary files."""
    client.execute(
        "import asyncio, multiprocessing, os, sqlite3, tempfile, threading\n"
        "db = sqlite3.connect('db.sqlite'); db.execute('create table t(x)'); db.commit()\n"
        "f = open('log.txt', 'a+'); f.write('parent\\n'); f.flush()\n"
        "tmp = tempfile.NamedTemporaryFile(); asyncio.run(asyncio.sleep(0))", session).ok()
    (branch,) = family(session)
    code = ("assert threading.active_count() == 1 and threading.current_thread() is "
            "threading.main_thread()\n"
            "t = threading.Thread(target=lambda: print('thread')); t.start(); t.join()\n"
            "asyncio.run(asyncio.sleep(0)); print('asyncio')\n"
            "p = multiprocessing.get_context('fork').Process(target=lambda: os.write(1, b'mp\\n'))\n"
            "p.start(); p.join(); print(p.exitcode)\n"
            "print(db.execute('select count(*) from t').fetchone())\n"
            "f.write('branch\\n'); f.flush(); f.seek(0); print(f.read().split())\n"
            "print(os.path.exists(tmp.name))")
    client.execute(code, branch).ok(
        "thread\nasyncio\nmp\n0\n(0,)\n['parent', 'branch']\nTrue\n")


def test_threads_are_named_in_warnings_or_refused(client, session):
    client.execute("import threading\nstop = threading.Event()\n"
                   "threading.Thread(target=stop.wait, name='waiter', daemon=True).start()",
                   session).ok()
    try:
        response = fork(client, session)
    except grpc.RpcError as error:
        assert Fault(error).reason == "FORK_UNSAFE"
    else:
        assert "waiter" in " ".join(response.warnings)
        client.execute("print(threading.active_count())",
                       response.sessions[0].session_id).ok("1\n")
        client.delete(response.sessions[0].session_id)
    client.execute("stop.set()", session).ok()


def test_the_directory_is_shared_or_copied(client, session, family):
    client.execute("import os; open('f', 'w').write('old'); os.mkdir('d'); open('d/g', 'w').write('g')\n"
                   "os.symlink('f', 'l'); os.chmod('f', 0o640)", session).ok()
    (shared,) = family(session)
    (copied,) = family(session, copy_working_directory=True)
    client.execute("open('f', 'w').write('new')", session).ok()
    look = "print(open('f').read(), os.readlink('l'), open('d/g').read(), oct(os.stat('f').st_mode)[-3:])"
    client.execute(look, shared).ok("new f g 640\n")
    client.execute(look, copied).ok("old f g 640\n")
    assert client.get_session(copied).working_directory != client.get_session(
        session).working_directory


def test_a_shared_directory_lives_as_long_as_the_last_branch(client, daemon, family):
    parent = client.create().session_id
    client.execute("open('f', 'w').write('here')", parent).ok()
    (branch,) = family(parent)
    folder = client.get_session(parent).working_directory
    client.delete(parent)
    client.execute("print(open('f').read())", branch).ok("here\n")
    client.delete(branch)
    until(lambda: not os.path.exists(folder), "the directory goes with the last session")


def test_depth_of_a_hundred(client, session):
    client.execute("path = []", session).ok()
    chain = [session]
    for depth in range(100):
        (new,) = branches(client, chain[-1])
        client.execute(f"path.append({depth})", new).ok()
        if len(chain) > 1:
            client.delete(chain[-1])
        chain.append(new)
    client.execute("print(len(path), path[-1])", chain[-1]).ok("100 99\n")
    client.delete(chain[-1])


def test_width_of_a_hundred_and_one_more(client, session, family):
    client.execute("x = 7", session).ok()
    made = family(session, 100)
    assert len(set(made)) == 100
    for one in made[::9]:
        client.execute("print(x)", one).ok("7\n")
    with refused("INVALID_FIELD", INVALID):
        fork(client, session, count=101)


def test_only_an_idle_session_is_forked(client, session):
    stream = client.stream("print('on')\nimport time\ntime.sleep(1000)", session)
    stream.until_output(b"on\n")
    with refused("SESSION_BUSY", BUSY, retry=True) as fault:
        fork(client, session)
    assert fault[0].metadata == {"currentExecutionId": stream.outcome.execution_id}
    client.interrupt(session)
    stream.finish()


def test_a_dead_session_has_nothing_to_fork(client, session):
    client.execute("import os; os._exit(1)", session)
    with refused("SESSION_DEAD", PRECONDITION):
        fork(client, session)


def test_a_repeated_request_gives_the_same_branches(client, session):
    key = new_id()
    first = branches(client, session, 2, request_id=key)
    assert branches(client, session, 2, request_id=key) == first
    with refused("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        fork(client, session, count=3, request_id=key)
    for one in first:
        client.delete(one)


def test_a_branch_of_an_adopted_session(own_daemon):
    """The zygote dies; what it forked can still be branched."""
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    client.execute("x = 'kept'", session).ok()
    old = daemon.zygote
    os.kill(old, signal.SIGKILL)
    until(lambda: not processes.exists(old), "the zygote is gone")
    (branch,) = branches(client, session)
    client.execute("print(x)", branch).ok("kept\n")


def test_forking_while_zygotes_die(own_daemon):
    """Each fork gives a branch that works, or FORK_FAILED; the parent goes on."""
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    client.execute("x = 1", session).ok()
    for _ in range(10):
        os.kill(daemon.zygote, signal.SIGKILL)
        for _ in range(5):
            try:
                made = branches(client, session)
            except grpc.RpcError as error:
                assert Fault(error).reason == "FORK_FAILED", error
                continue
            client.execute("print(x)", made[0]).ok("1\n")
            client.delete(made[0])
    client.execute("print(x)", session).ok("1\n")


def test_interrupts_and_limits_hold_in_a_branch(client, session, family):
    (branch,) = family(session)
    out = client.execute("while True: pass", branch, timeout=0.2).expect("TIMEOUT_ERROR")
    assert out.result.session_alive
    client.execute("print('lives')", branch).ok("lives\n")
