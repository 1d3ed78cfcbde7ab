"""SIGTERM: no new work, running executions finish or are ended with a result, nothing left."""

import os
import signal
import time

import grpc
import pytest
from support.api import ex
from support.client import new_id
from support.faults import Fault
from support.waiting import until

STREAM = {"stdin_mode": ex.ExecutionSpec.STDIN_MODE_STREAM}


def refuses_new_work(client):
    try:
        client.create()
    except grpc.RpcError as error:
        return Fault(error).reason == "SERVER_DRAINING"
    return False


def test_running_executions_finish(own_daemon):
    daemon = own_daemon("--drain-timeout", "100s")
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    stream = client.stream("print('on')\nprint(input())", session, **STREAM)
    stream.until_output(b"on\n")
    daemon.signal(signal.SIGTERM)
    until(lambda: refuses_new_work(client), "new work is refused")
    assert client.info().draining
    with pytest.raises(grpc.RpcError) as caught:
        client.execute("1")
    fault = Fault(caught.value)
    assert (fault.code, fault.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVER_DRAINING")
    assert fault.retry is not None
    # What belongs to the running execution still works.
    assert client.get(session, stream.outcome.execution_id).state != 4
    client.write_stdin(session, stream.outcome.execution_id, b"whole\n", eof=True)
    stream.finish().ok("on\nwhole\n")
    assert daemon.wait_exit() == 0
    daemon.assert_nothing_left()


def test_what_does_not_finish_is_ended_with_a_result(own_daemon):
    daemon = own_daemon("--drain-timeout", "300ms", "--interrupt-grace", "100ms")
    client = own_daemon.connect(daemon)
    codes = ["print('on')\nwhile True: pass",
             "print('on')\nwhile True:\n    try:\n        exec('while 1: pass')\n"
             "    except BaseException: pass"]
    streams = [client.stream(code, client.create().session_id) for code in codes]
    streams.append(client.stream(codes[0]))
    for stream in streams:
        stream.until_output(b"on\n")
    daemon.signal(signal.SIGTERM)
    for stream in streams:
        got = stream.finish()
        assert got.status == "SERVER_ERROR", got.result
        assert got.stdout == b"on\n"
    assert daemon.wait_exit() == 0
    daemon.assert_nothing_left()


def test_a_second_signal_cuts_the_drain_short(own_daemon):
    daemon = own_daemon("--drain-timeout", "1h", "--interrupt-grace", "100ms")
    client = own_daemon.connect(daemon)
    stream = client.stream("print('on')\nwhile True: pass")
    stream.until_output(b"on\n")
    daemon.signal(signal.SIGTERM)
    until(lambda: refuses_new_work(client), "new work is refused")
    daemon.signal(signal.SIGTERM)
    assert stream.finish().status == "SERVER_ERROR"
    assert daemon.wait_exit() == 0
    daemon.assert_nothing_left()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_idle_daemon_ends_at_once(own_daemon, number):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    for _ in range(3):
        session = client.create().session_id
        client.execute("import subprocess\nsubprocess.Popen(['sleep', '1000'])\n"
                       "open('file', 'w')", session).ok()
    daemon.signal(number)
    assert daemon.wait_exit() == 0
    daemon.assert_nothing_left()


@pytest.mark.parametrize("attempt", range(3))
def test_writes_that_waited_for_their_client_do_not_hold_up_the_end(own_daemon, attempt):
    """libgrpc's thread for such writes looks up every 10 s only; the end must not wait for it."""
    daemon = own_daemon()
    slow, client = own_daemon.connect(daemon), own_daemon.connect(daemon)
    session = client.create().session_id
    stream = slow.stream("import os\nfor i in range(300): os.write(1, b'x' * 100000)", session)
    stream.until(lambda o: o.started)
    client.finished(session, stream.outcome.execution_id)
    stream.finish().ok()
    slow.close()
    client.close()
    begin = time.monotonic()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    assert time.monotonic() - begin < 8


def test_queued_executions_get_results_too(own_daemon):
    daemon = own_daemon("--drain-timeout", "300ms", "--interrupt-grace", "100ms")
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    stream = client.stream("print('on')\nwhile True: pass", session)
    stream.until_output(b"on\n")
    key = new_id()
    queued = client.stream("print('queued')", session, key,
                           busy_policy=ex.ExecutionSpec.BUSY_POLICY_QUEUE)

    def waits():
        try:
            return client.get(session, key).state == ex.Execution.STATE_QUEUED
        except grpc.RpcError:
            return False
    until(waits, "it waits")
    daemon.signal(signal.SIGTERM)
    assert stream.finish().status == "SERVER_ERROR"
    assert queued.finish().status == "SERVER_ERROR"
    assert daemon.wait_exit() == 0


def test_attached_readers_get_the_end(own_daemon):
    daemon = own_daemon("--drain-timeout", "300ms", "--interrupt-grace", "100ms")
    client = own_daemon.connect(daemon)
    session = client.create().session_id
    started = client.start("print('on')\nwhile True: pass", session)
    readers = [client.attach_stream(session, started.execution_id) for _ in range(5)]
    for reader in readers:
        reader.until_output(b"on\n")
    daemon.signal(signal.SIGTERM)
    assert {r.finish().status for r in readers} == {"SERVER_ERROR"}
    assert daemon.wait_exit() == 0


def test_sigterm_before_it_is_ready(own_daemon):
    daemon = own_daemon(ready=False)
    until(lambda: daemon.pid is not None, "it was forked")
    until(lambda: os.path.exists(daemon.socket) or daemon.exit_status is not None, "the socket")
    if daemon.exit_status is None:
        daemon.signal(signal.SIGTERM)
    assert daemon.wait_exit() == 0
    daemon.assert_nothing_left()


def test_sighup_and_sigpipe_do_nothing(own_daemon):
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    for number in (signal.SIGHUP, signal.SIGPIPE, signal.SIGUSR1, signal.SIGUSR2):
        daemon.signal(number)
    client.execute("print('fine')").ok("fine\n")
