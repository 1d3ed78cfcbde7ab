"""A thousand random programs that write to both streams in every way come back in program order.

Two writes with a fence between them are promised in order (service/README.md, "Order of output").
The one thing without a fence is a native call directly after a native call, so these programs never
have two of those in a row to different streams; everything else is mixed freely."""

import pytest

PROGRAMS = 1000
BATCHES = 20
PREAMBLE = """
import ctypes, os, subprocess, sys
libc = ctypes.CDLL(None)
def c_write(fd, b): libc.write(fd, b, len(b))
"""


def shell(fd, text):
    redirect = "" if fd == 1 else " >&2"
    return f"printf %s '{text}'{redirect}"


# way -> (weight, code that writes `text` to `fd`)
WAYS = {
    "print": (6, lambda fd, t: f"print({t!r}, end='', file={stream(fd)})"),
    "write": (3, lambda fd, t: f"{stream(fd)}.write({t!r})"),
    "buffer": (2, lambda fd, t: f"{stream(fd)}.buffer.write({t.encode()!r}); {stream(fd)}.flush()"),
    "os.write": (4, lambda fd, t: f"os.write({fd}, {t.encode()!r})"),
    "os.writev": (1, lambda fd, t: f"os.writev({fd}, [{t[:1].encode()!r}, {t[1:].encode()!r}])"),
    "C": (4, lambda fd, t: f"c_write({fd}, {t.encode()!r})"),
    "run": (2, lambda fd, t: f"subprocess.run(['sh', '-c', {shell(fd, t)!r}])"),
    "call": (1, lambda fd, t: f"subprocess.check_call(['printf', '%s', {t!r}], "
                              f"stdout={'None' if fd == 1 else 2})"),
    "system": (1, lambda fd, t: f"os.system({shell(fd, t)!r})"),
    "popen": (1, lambda fd, t: f"subprocess.Popen(['sh', '-c', {shell(fd, t)!r}]).wait()"),
    "spawn": (1, lambda fd, t: "os.waitpid(os.posix_spawn('/bin/sh', "
                               f"['sh', '-c', {shell(fd, t)!r}], {{}}), 0)"),
    "fork": (1, lambda fd, t: f"pid = os.fork()\nif pid == 0:\n    os.write({fd}, {t.encode()!r})\n"
                              "    os._exit(0)\nos.waitpid(pid, 0)"),
}


def stream(fd):
    return "sys.stdout" if fd == 1 else "sys.stderr"


def make_program(rng):
    """A program, and the writes it makes: [(stream, bytes)]."""
    names = list(WAYS)
    weights = [WAYS[n][0] for n in names]
    lines, writes, native = [PREAMBLE], [], None
    for number in range(rng.randint(10, 40)):
        fd = rng.choice((1, 2))
        way = rng.choices(names, weights)[0]
        if way == "C" and native not in (None, fd):
            way = "print"
        native = fd if way == "C" else None
        size = rng.choice((1, 1, 1, 5, 40, 300, 3000, 20000))
        text = f"<{number}>" + "x" * size
        lines.append(WAYS[way][1](fd, text))
        writes.append(("out" if fd == 1 else "err", text.encode()))
    return "\n".join(lines), writes


def joined(writes):
    result = []
    for name, data in writes:
        if result and result[-1][0] == name:
            result[-1] = (name, result[-1][1] + data)
        else:
            result.append((name, data))
    return result


@pytest.mark.parametrize("batch", range(BATCHES))
def test_random_programs_come_back_in_program_order(client, rng, batch, exhaustive):
    with client.session() as session:
        for number in range(PROGRAMS // BATCHES * (10 if exhaustive else 1)):
            code, writes = make_program(rng)
            got = client.execute(code, session).ok()
            assert got.merged == joined(writes), f"program {number}:\n{code}"


def test_random_programs_in_throw_away_executions(client, rng):
    for _ in range(20):
        code, writes = make_program(rng)
        assert client.execute(code).ok().merged == joined(writes), code


def test_order_holds_under_a_reader_that_starts_late(client, session, rng):
    """The log has the order, not the stream that happened to be attached."""
    for _ in range(20):
        code, writes = make_program(rng)
        execution = client.start(code, session)
        client.finished(session, execution.execution_id)
        assert client.attach(session, execution.execution_id).merged == joined(writes), code


def test_the_exception_of_a_run_comes_after_its_output(client, session):
    for _ in range(20):
        got = client.execute("import os, sys\nos.write(1, b'a')\nprint('b', file=sys.stderr)\n"
                             "os.write(1, b'c')\n1/0", session).expect("ERROR")
        assert got.merged[:3] == [("out", b"a"), ("err", b"b\n"), ("out", b"c")]


def test_threads_that_write_at_once_keep_each_stream_whole(client, session):
    """Arrival order between threads; within one thread and stream the program's."""
    code = """
import sys, threading
def work(name, stream):
    for i in range(2000): stream.write(f'{name}{i}\\n')
threads = [threading.Thread(target=work, args=(n, s))
           for n, s in (('a', sys.stdout), ('b', sys.stdout), ('c', sys.stderr))]
[t.start() for t in threads]
[t.join() for t in threads]
"""
    got = client.execute(code, session).ok()
    lines = got.stdout.decode().splitlines()
    for name in "ab":
        assert [x for x in lines if x[0] == name] == [f"{name}{i}" for i in range(2000)]
    assert got.stderr.decode().splitlines() == [f"c{i}" for i in range(2000)]


LATE_THREAD = """
import sys, threading
go, done = threading.Event(), threading.Event()
def late():
    go.wait()
    for i in range(100):
        print('late', i)
        print('late', i, file=sys.stderr)
    def grandchild():
        print('later')
        done.set()
    threading.Thread(target=grandchild).start()
thread = threading.Thread(target=late)
thread.start()
"""


def test_a_thread_of_an_earlier_run_is_background_even_while_the_next_one_prints(client, session):
    """Threads that such a thread starts count as its run's, too."""
    client.execute(LATE_THREAD, session).ok("")
    code = "import sys\ngo.set()\nfor i in range(300):\n    print('mine', i)\n" \
           "    print('mine', i, file=sys.stderr)\ndone.wait()\nthread.join()"
    got = client.execute(code, session).ok()
    mine = b"".join(b"mine %d\n" % i for i in range(300))
    assert got.stdout == mine
    assert got.stderr == mine
    background = client.background(session)
    background.until_output(b"later\n")
    background.cancel()
    late = b"".join(b"late %d\n" % i for i in range(100))
    assert background.outcome.stdout == late + b"later\n"
    assert background.outcome.stderr == late
