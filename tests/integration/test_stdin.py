"""Standard input: closed, inline, streamed."""

import hashlib

import grpc
import pytest
from support.api import ex
from support.faults import refused

MODES = ex.ExecutionSpec
STREAM = {"stdin_mode": MODES.STDIN_MODE_STREAM}
INLINE = {"stdin_mode": MODES.STDIN_MODE_INLINE}


def test_closed_by_default_and_never_hangs(client, session):
    result = client.execute("input('name? ')", session).expect("ERROR").result
    assert result.exc_type == "EOFError"
    client.execute("import sys\nprint(repr(sys.stdin.read()))", session).ok("''\n")
    client.execute("import os\nprint(os.read(0, 10))", session).ok("b''\n")
    client.execute("import subprocess\nsubprocess.run(['cat'])\nprint('done')", session).ok("done\n")


def test_inline_bytes_are_the_whole_input(client, session):
    code = "import sys\nprint(input(), input(), repr(sys.stdin.read()))"
    client.execute(code, session, stdin=b"one\ntwo\nrest\xff", **INLINE).ok(
        "one two 'rest\\udcff'\n")


def test_inline_input_reaches_subprocesses(client, session):
    got = client.execute("import subprocess\nsubprocess.run(['cat'])", session,
                         stdin=bytes(range(256)) * 1000, **INLINE)
    assert got.ok().stdout == bytes(range(256)) * 1000


def test_inline_input_that_nobody_reads(client, session):
    client.execute("print('no thanks')", session, stdin=b"x" * 1000000, **INLINE).ok("no thanks\n")
    client.execute("input()", session).expect("ERROR")


def test_empty_inline_input_is_end_of_file(client, session):
    client.execute("input()", session, stdin=b"", **INLINE).expect("ERROR")


def test_a_dialogue_with_prompts(client, session):
    stream = client.stream("a = input('first? ')\nb = input('second? ')\nprint(a, b)", session,
                           **STREAM)
    request = stream.until(lambda o: o.of_kind("input_request")).of_kind("input_request")[0]
    assert request.prompt == "first? " and not request.password and request.stdin_offset == 0
    key = stream.outcome.execution_id
    assert client.get(session, key).state == ex.Execution.STATE_WAITING_FOR_INPUT
    assert client.write_stdin(session, key, b"one\n").next_offset == 4
    second = stream.until(lambda o: len(o.of_kind("input_request")) == 2).of_kind(
        "input_request")[1]
    assert second.prompt == "second? " and second.stdin_offset == 4
    client.write_stdin(session, key, b"two\n", offset=4, eof=True)
    assert stream.finish().ok().text.endswith("one two\n")


def test_getpass_asks_for_a_password(client, session):
    stream = client.stream("import getpass\nprint(len(getpass.getpass('secret: ')))", session,
                           **STREAM)
    request = stream.until(lambda o: o.of_kind("input_request")).of_kind("input_request")[0]
    assert request.password and request.prompt == "secret: "
    client.write_stdin(session, stream.outcome.execution_id, b"abcd\n", eof=True)
    assert stream.finish().ok().text.endswith("4\n")


def test_repeating_a_write_is_harmless(client, session):
    stream = client.stream("import sys\nprint(sys.stdin.read())", session, **STREAM)
    stream.until(lambda o: o.started)
    key = stream.outcome.execution_id
    for _ in range(3):
        assert client.write_stdin(session, key, b"abc\n", offset=0).next_offset == 4
    # A repeat that brings something new after what is known.
    assert client.write_stdin(session, key, b"abc\ndef\n", offset=0).next_offset == 8
    last = client.write_stdin(session, key, eof=True, offset=8)
    assert last.closed
    stream.finish().ok("abc\ndef\n\n")


def test_offset_beyond_what_is_accepted(client, session):
    stream = client.stream("print(input())", session, **STREAM)
    stream.until(lambda o: o.started)
    key = stream.outcome.execution_id
    with refused("STDIN_OFFSET", grpc.StatusCode.OUT_OF_RANGE):
        client.write_stdin(session, key, b"x\n", offset=1)
    client.write_stdin(session, key, b"x\n", eof=True)
    stream.finish().ok("x\n")


def test_end_of_file_ends_input(client, session):
    stream = client.stream("import sys\nprint(len(sys.stdin.read()))", session, **STREAM)
    stream.until(lambda o: o.started)
    key = stream.outcome.execution_id
    client.write_stdin(session, key, b"12345")
    client.write_stdin(session, key, b"678", offset=5, eof=True)
    stream.finish().ok("8\n")


def test_large_streamed_input_flows_with_bounded_steps(client, session):
    """next_offset says how much was taken; the rest is sent again."""
    total = 24 << 20
    code = "import hashlib, sys\nh = hashlib.sha256()\nn = 0\n" \
           "while b := sys.stdin.buffer.read(1 << 16):\n    h.update(b)\n    n += len(b)\n" \
           "print(n, h.hexdigest())"
    data = bytes(range(251)) * (total // 251 + 1)
    data = data[:total]
    stream = client.stream(code, session, **STREAM)
    stream.until(lambda o: o.started)
    offset = 0
    while offset < total:
        step = client.write_stdin(session, stream.outcome.execution_id,
                                  data[offset:offset + (1 << 20)], offset=offset)
        assert offset <= step.next_offset <= offset + (1 << 20)
        offset = step.next_offset
    client.write_stdin(session, stream.outcome.execution_id, offset=offset, eof=True)
    stream.finish().ok(f"{total} {hashlib.sha256(data).hexdigest()}\n")


def test_input_left_over_is_not_given_to_the_next_run(client, session):
    stream = client.stream("print(input())", session, **STREAM)
    stream.until(lambda o: o.started)
    client.write_stdin(session, stream.outcome.execution_id, b"mine\nleft over\n", eof=True)
    stream.finish().ok("mine\n")
    client.execute("input()", session).expect("ERROR")


def test_a_subprocess_reads_the_streamed_input(client, session):
    stream = client.stream("import subprocess\nsubprocess.run(['head', '-n', '1'])", session,
                           **STREAM)
    stream.until(lambda o: o.started)
    client.write_stdin(session, stream.outcome.execution_id, b"for the child\n")
    stream.finish().ok("for the child\n")


@pytest.mark.parametrize("code", ["breakpoint()", "help()"])
def test_interactive_tools_end_without_input(client, session, code):
    assert client.execute(code, session).result.session_alive
