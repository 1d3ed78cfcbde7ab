"""Every byte that a program writes arrives, as it was, while it is written."""

import pytest
from support.api import ex, seconds
from support.processes import descriptors
from support.waiting import SANITIZED

MIB = 1 << 20


def test_a_million_printed_lines_are_complete_and_in_order(client):
    got = client.execute("for i in range(1000000): print('line', i)", max_output_bytes=1 << 27).ok()
    assert got.stdout == b"".join(b"line %d\n" % i for i in range(1000000))
    assert got.result.dropped_bytes == 0
    # The original gives up after 5 s. Processor time, since others may use the machine, too.
    usage = got.result.usage
    assert seconds(usage.cpu_user) + seconds(usage.cpu_system) < 5 * SANITIZED


def test_one_write_of_100_mib(client):
    code = "import sys\nblock = bytes(range(256)) * 4096\n" \
           "sys.stdout.buffer.write(block * 100)\nsys.stdout.flush()"
    out = client.execute(code, max_output_bytes=128 * MIB).ok().stdout
    block = bytes(range(256)) * 4096
    assert len(out) == 100 * MIB
    assert all(out[i:i + MIB] == block for i in range(0, 100 * MIB, MIB))


def test_binary_and_invalid_utf8_come_byte_for_byte(client, session):
    blob = bytes(range(256)) + b"\xff\xfe\xc3\x28\xed\xa0\x80\x00\xf0\x9f" + "añ€𝄞".encode()
    code = f"import os, sys\nb = {blob!r}\nsys.stdout.buffer.write(b)\nsys.stdout.flush()\n" \
           "os.write(2, b)"
    got = client.execute(code, session).ok()
    assert got.stdout == blob
    assert got.stderr == blob


def test_a_character_split_over_writes_is_whole(client, session):
    code = "import os\nfor byte in '€uro 𝄞'.encode(): os.write(1, bytes([byte]))"
    assert client.execute(code, session).ok().text == "€uro 𝄞"


def test_lone_surrogates_do_not_raise(client, session):
    got = client.execute("print('a\\ud800b')", session).ok()
    assert got.stdout == b"a\\ud800b\n"


def test_escape_sequences_and_nul_pass_through(client, session):
    text = "\x1b[31mred\x1b[0m\x00\x07\r\n\x1b]0;title\x07"
    client.execute(f"print({text!r}, end='')", session).ok(text)


WRITERS = {
    "print": "print('first')",
    "print without newline": "print('first', end='')",
    "stderr": "import sys\nprint('first', file=sys.stderr)",
    "os.write": "import os\nos.write(1, b'first')",
    "C": "import ctypes\nc = ctypes.CDLL(None)\nc.write(1, b'first', 5)",
    "puts": "import ctypes\nc = ctypes.CDLL(None)\nc.puts(b'first')\nc.fflush(None)",
    "subprocess": "import subprocess\nsubprocess.run(['echo', 'first'])",
}


@pytest.mark.parametrize("way", WRITERS)
def test_output_arrives_while_the_program_runs(client, session, way):
    """By causality: the program ends only after we saw its first output and answered."""
    stream = client.stream(WRITERS[way] + "\nprint(input())", session,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until(lambda o: b"first" in o.stdout + o.stderr)
    client.write_stdin(session, stream.outcome.execution_id, b"the answer\n", eof=True)
    assert stream.finish().ok().stdout.endswith(b"the answer\n")


def test_output_of_a_throw_away_execution_arrives_live(client, tmp_path):
    tmp_path.chmod(0o777)
    flag = tmp_path / "seen"
    code = f"import os\nprint('first')\nwhile not os.path.exists({str(flag)!r}): pass\nprint('end')"
    stream = client.stream(code)
    stream.until_output(b"first\n")
    flag.touch()
    stream.finish().ok("first\nend\n")


@pytest.mark.parametrize("code, stdout", [
    ("import sys\nsys.stdout = None\nprint('lost')", ""),
    ("import sys\nkeep = sys.stdout\nsys.stdout = None\nprint('lost')\nsys.stdout = keep\n"
     "print('kept')", "kept\n"),
    ("import io, sys\nsys.stdout = io.StringIO()\nprint('caught')", ""),
    ("import contextlib, io\nwith contextlib.redirect_stdout(io.StringIO()) as f: print('in')\n"
     "print(f.getvalue().upper(), end='')", "IN\n"),
    ("import sys\nsys.stdout.detach()", ""),
    ("import sys\nsys.stdout.close()", ""),
    ("import sys\nraw = sys.stdout.detach()\nraw.write(b'raw\\n')\nraw.flush()", "raw\n"),
    ("import os\nos.close(1)\nos.close(2)", ""),
    ("import os\nos.close(1)\nos.open('f', os.O_CREAT | os.O_WRONLY)\nprint('to the file')\n", ""),
    ("import os\nos.dup2(2, 1)\nprint('to stderr')", ""),
    ("import os\nfd = os.dup(1)\nos.write(fd, b'dup\\n')", "dup\n"),
    ("open('/dev/stdout', 'w').write('reopened\\n')", "reopened\n"),
    ("import os\nos.write(1, b'')\nprint(end='')", ""),
])
def test_whatever_is_done_to_the_streams_ends_in_a_result(client, code, stdout):
    with client.session() as session:
        got = client.execute(code, session)
        assert got.status == "OK", got.result
        assert got.text == stdout
        if got.result.session_alive:
            after = client.execute("x = 6\nassert x == 6", session)
            assert after.status == "OK", after.result


@pytest.mark.parametrize("code", [
    "import sys\nsys.stdout = None\nraise ValueError('x')",
    "import sys\nsys.stdout = sys.stderr = object()\nraise ValueError('x')",
    "import sys\nsys.stdout.detach()\nsys.stderr.detach()\nraise ValueError('x')",
    "import os\nos.close(1)\nos.close(2)\nraise ValueError('x')",
])
def test_the_report_does_not_need_the_streams(client, session, code):
    result = client.execute(code, session).expect("ERROR").result
    assert (result.exc_type, result.exc_message) == ("ValueError", "x")


def test_streams_replaced_in_one_run_are_back_in_the_next(client, session):
    """As the original: each run starts with working streams."""
    client.execute("import sys\nsys.stdout = None\nsys.stderr = None", session).ok()
    client.execute("print('back')", session).ok("back\n")


def test_closing_the_control_socket_ends_the_session_with_a_result(client, session):
    got = client.execute("print('a')\nimport os\nos.closerange(3, 65536)\nprint('b')", session)
    assert got.status in ("CRASHED", "EXITED"), got.result
    assert not got.result.session_alive
    assert got.stdout.startswith(b"a\n")


def test_nonblocking_stdout_loses_nothing_from_print(client, session):
    code = "import os\nos.set_blocking(1, False)\nfor i in range(200000): print(i)"
    got = client.execute(code, session).ok()
    assert got.stdout == b"".join(b"%d\n" % i for i in range(200000))


def test_pipe_size_does_not_matter(client, session):
    for size in (4096, MIB):
        code = f"import fcntl\nfcntl.fcntl(1, 1031, {size})\nprint('x' * 300000)"
        client.execute(code, session).ok("x" * 300000 + "\n")


def test_unflushed_output_at_os_exit_is_there(client):
    """print is written through at once."""
    got = client.execute("import os\nprint('kept', end='')\nos._exit(0)").expect("EXITED", "kept")
    assert got.result.exit_code == 0


def test_background_descendant_output_never_mixes_into_the_next_run(client, session, tmp_path):
    """A grandchild that writes later; the test lets it write while the next execution runs."""
    tmp_path.chmod(0o777)
    go, done = tmp_path / "go", tmp_path / "done"
    script = f"while [ ! -e {go} ]; do :; done; echo stray; : > {done}"
    client.execute(f"import subprocess\nsubprocess.Popen(['sh', '-c', {script!r}])", session).ok("")
    wait = f"import os\nopen({str(go)!r}, 'w')\nwhile not os.path.exists({str(done)!r}): pass\n" \
           "print('mine')"
    client.execute(wait, session).ok("mine\n")
    background = client.background(session)
    background.until_output(b"stray\n")
    background.cancel()


def test_large_output_to_both_streams_at_once_does_not_deadlock(client, session):
    code = """
import os, threading
def fill(fd, char):
    for _ in range(200): os.write(fd, char * 50000)
threads = [threading.Thread(target=fill, args=a) for a in ((1, b'o'), (2, b'e'))]
[t.start() for t in threads]
[t.join() for t in threads]
"""
    got = client.execute(code, session).ok()
    assert got.stdout == b"o" * 10_000_000
    assert got.stderr == b"e" * 10_000_000


def test_truncation_keeps_head_and_tail_and_counts_the_rest(client, session):
    code = "for i in range(100000): print('%08d' % i)"
    got = client.execute(code, session, max_output_bytes=65536).ok()
    whole = b"".join(b"%08d\n" % i for i in range(100000))
    # The stream was attached all the time, so it may have seen more than what is retained.
    again = client.attach(session, got.execution_id)
    assert sum(g.size for g in again.gaps) == got.result.dropped_bytes > 0
    assert got.result.stdout_bytes == len(whole)
    gap = again.gaps[0]
    kept = b"".join(e.output.data for e in again.events if e.HasField("output"))
    assert kept == whole[:gap.offset] + whole[gap.offset + gap.size:]
    assert len(kept) <= 65536


def test_block_policy_loses_nothing(client, session):
    """The program waits for its reader instead."""
    code = "for i in range(100000): print('%08d' % i)"
    got = client.execute(code, session, max_output_bytes=65536,
                         overflow_policy=ex.ExecutionSpec.OVERFLOW_POLICY_BLOCK).ok()
    assert got.stdout == b"".join(b"%08d\n" % i for i in range(100000))
    assert got.result.dropped_bytes == 0


def test_run_collects_stdout_stderr_and_displays(client, session):
    code = "import sys\nprint('o')\nprint('e', file=sys.stderr)\ndisplay('d')"
    answer = client.run(code, session)
    assert (answer.stdout, answer.stderr) == (b"o\n", b"e\n")
    assert len(answer.displays) == 1
    assert answer.result.status == answer.result.STATUS_OK


def test_run_with_more_output_than_a_message_holds(client, session):
    answer = client.run("for i in range(600000): print(i)", session)
    assert answer.result.status == answer.result.STATUS_OK
    assert answer.ByteSize() < 4 << 20
    assert answer.result.dropped_bytes > 0
    assert answer.stdout.startswith(b"0\n1\n") and answer.stdout.endswith(b"599999\n")


def test_old_pipes_are_given_back(client, daemon):
    """Executions that leave a descendant behind do not use up descriptors."""
    leave = "import subprocess\nsubprocess.Popen(['sleep', '1000'])"
    with client.session() as session:
        for _ in range(12):
            client.execute(leave, session).ok()
        most = len(descriptors(daemon.pid))
        for _ in range(12):
            client.execute(leave, session).ok()
        assert len(descriptors(daemon.pid)) <= most + 2
        client.execute("print('fine')", session).ok("fine\n")
