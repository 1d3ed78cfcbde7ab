"""200 executions of each way to end: one result each, the right status, and nothing left.

They run at once, as throw-away executions of a daemon of the test's own."""

import concurrent.futures
import os
import signal

import pytest
from support.processes import descriptors
from support.waiting import until

COUNT = 200
AT_ONCE = 16
FLAGS = ("--max-running", str(AT_ONCE), "--interrupt-grace", "100ms")


class Ending:
    """A program, and what its result must say."""

    def __init__(self, code, status, stdout="", alive=False, also=(), **facts):
        self.code = code
        self.status = status
        self.stdout = {stdout.encode(), *(s.encode() for s in also)}
        self.alive = alive
        self.facts = facts

    spec = {}


class Limited(Ending):
    """A program that only its time limit ends."""

    spec = {"timeout": 0.2}


ENDINGS = {
    "sys.exit": Ending("import sys\nprint('a')\nsys.exit(7)", "EXITED", "a\n", alive=None,
                       exit_code=7),
    "os._exit": Ending("import os\nprint('a')\nos._exit(9)", "EXITED", "a\n", exit_code=9),
    "segfault": Ending("print('a')\nimport ctypes\nctypes.string_at(0)", "CRASHED", "a\n",
                       signal=signal.SIGSEGV),
    "SIGKILL": Ending("import os\nprint('a')\nos.kill(os.getpid(), 9)", "CRASHED", "a\n",
                      signal=signal.SIGKILL),
    "stack overflow": Ending(
        "print('a')\nimport ctypes\n"
        "class R:\n    def __repr__(self): return repr([self])\n"
        "import sys\nsys.setrecursionlimit(10**9)\nrepr(R())", "CRASHED", "a\n",
        signal=signal.SIGSEGV),
    "abort": Ending("import os\nprint('a')\nos.abort()", "CRASHED", "a\n", signal=signal.SIGABRT),
    "endless": Limited("print('a')\nwhile True: pass", "TIMEOUT_ERROR", "a\n", alive=None),
    "endless, interrupt swallowed": Limited(
        "print('a')\nwhile True:\n    try:\n        exec('while 1: pass')\n"
        # On a busy machine the grace may pass before the handler runs.
        "    except KeyboardInterrupt: print('b')", "TIMEOUT_ERROR", "a\nb\n", also=["a\n"]),
    "SIGSTOP": Limited("import os, signal\nprint('a')\nos.kill(os.getpid(), signal.SIGSTOP)",
                       "TIMEOUT_ERROR", "a\n"),
    "grandchild holds the pipes": Ending(
        "import subprocess\nsubprocess.run(['sh', '-c', 'setsid sleep 1000 & echo a'])",
        "OK", "a\n", alive=None),
    "RecursionError": Ending("def f(): f()\nprint('a')\nf()", "ERROR", "a\n", alive=None),
    "exception": Ending("print('a')\n1/0", "ERROR", "a\n", alive=None),
}


@pytest.fixture
def quiet_daemon(own_daemon):
    """A daemon whose descriptors and processes are counted before and after."""
    daemon = own_daemon(*FLAGS)
    client = own_daemon.connect(daemon)
    client.execute("pass").ok()
    return daemon, client


def counts(daemon):
    """What must be the same again when all is over."""
    return {
        "descriptors of pyexecd": len(descriptors(daemon.pid)),
        "descriptors of the zygote": len(descriptors(daemon.zygote)),
        "descriptors of the launcher": len(descriptors(daemon.launcher)),
        "zombies": sum(p.state == "Z" for p in daemon.tree()),
        "processes": len(daemon.tree()),
        "folders": len(os.listdir(os.path.join(daemon.state, "work"))),
    }


def settled(daemon):
    """The counts when nothing runs and the pool of spares is full."""
    until(lambda: len(daemon.session_processes()) == 2
          and not os.listdir(os.path.join(daemon.state, "work")),
          lambda: f"only the two spares are left\n{daemon.tree_text()}")
    return counts(daemon)


def assert_as_before(daemon, before):
    """All that the executions used is given back. A moment may see a spare being made."""
    def excess():
        now = settled(daemon)
        # The client's connections are descriptors of the daemon, too; it opened one or two.
        return {k: (v, now[k]) for k, v in before.items()
                if now[k] > v + (2 if k == "descriptors of pyexecd" else 0)}
    until(lambda: not excess(), lambda: f"(before, now): {excess()}\n{daemon.tree_text()}")


def one(client, ending):
    got = client.execute(ending.code, **ending.spec)
    result = got.result
    assert got.status == ending.status, (got.status, result)
    assert got.stdout in ending.stdout, got.stdout
    termination = result.WhichOneof("termination")
    for name, value in ending.facts.items():
        assert termination == name and getattr(result, name) == value, result
    if ending.alive is False:
        assert not result.session_alive
    if ending.status == "TIMEOUT_ERROR":
        assert result.exc_type == "TimeoutError"
    # Exactly one result for everybody, not only for this stream.
    again = client.get(got.session_id, got.execution_id)
    assert again.result == result
    return got


@pytest.mark.parametrize("name", ENDINGS)
def test_200_endings_leave_one_result_each_and_nothing_else(quiet_daemon, name, exhaustive):
    daemon, client = quiet_daemon
    before = settled(daemon)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        made = [pool.submit(one, client, ENDINGS[name])
                for _ in range(COUNT * (5 if exhaustive else 1))]
        ids = {f.result().execution_id for f in made}
    assert len(ids) == len(made)
    assert_as_before(daemon, before)


def test_endings_of_every_kind_at_once(quiet_daemon, rng):
    daemon, client = quiet_daemon
    before = settled(daemon)
    names = [n for n in ENDINGS for _ in range(5)]
    rng.shuffle(names)
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for future in [pool.submit(one, client, ENDINGS[n]) for n in names]:
            future.result()
    assert_as_before(daemon, before)


@pytest.mark.parametrize("name", ENDINGS)
def test_a_session_says_honestly_whether_it_survived(client, name):
    """session_alive, Session.state and generation tell the same story."""
    ending = ENDINGS[name]
    with client.session() as session:
        client.execute("kept = 5", session).ok()
        spec = dict(ending.spec)
        got = client.execute(ending.code, session, **spec)
        assert got.status == ending.status
        state = client.get_session(session)
        if got.result.session_alive:
            assert state.state == state.DESCRIPTOR.file.enum_types_by_name[
                "SessionState"].values_by_name["SESSION_STATE_IDLE"].number
            client.execute("print(kept)", session).ok("5\n")
            return
        assert ending.alive in (False, None)
        assert client.restart(session).generation == state.generation + 1
        client.execute("print('kept' in globals())", session).ok("False\n")


@pytest.mark.parametrize("value, code, stderr", [
    ("", 0, b""), ("None", 0, b""), ("0", 0, b""), ("3", 3, b""), ("256", 0, b""), ("-1", 255, b""),
    ("'a message'", 1, b"a message\n"), ("(1, 2)", 1, b"(1, 2)\n"), ("True", 1, b""),
])
def test_exit_codes_are_those_of_python(client, value, code, stderr):
    got = client.execute(f"import sys\nsys.exit({value})").expect("EXITED")
    assert got.result.exit_code == code
    assert got.stderr == stderr


def test_exit_in_a_thread_ends_only_the_thread(client, session):
    code = "import sys, threading\nt = threading.Thread(target=sys.exit, args=(5,))\nt.start()\n" \
           "t.join()\nprint('main goes on')"
    client.execute(code, session).ok("main goes on\n")


def test_a_forked_child_that_returns_through_the_end_makes_no_second_result(client, session):
    """os.fork at top level: both reach the end of the program; one result, the parent's."""
    code = "import os\nme = os.getpid()\npid = os.fork()\nif pid: os.waitpid(pid, 0)\n" \
           "print('parent' if os.getpid() == me else 'child')"
    client.execute(code, session).ok("child\nparent\n")
    client.execute("print(os.getpid() == me)", session).ok("True\n")


def test_a_forked_child_that_raises_does_not_report(client, session):
    code = "import os\npid = os.fork()\nif pid == 0: raise ValueError('in the child')\n" \
           "print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))"
    got = client.execute(code, session).ok("1\n")
    assert b"ValueError: in the child" in got.stderr


def test_exit_without_a_report_is_not_ok(client):
    """Status 0 of the process alone does not say that the code ran to its end."""
    got = client.execute("print('checks follow')\nimport os\nos._exit(0)\nassert False")
    got.expect("EXITED", "checks follow\n")
    assert not got.result.session_alive
