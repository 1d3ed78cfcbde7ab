"""The caller goes away: cancel, deadline, lost connection; with and without reattach_grace."""

import grpc
import pytest
from support.api import ex
from support.client import SPIN_AND_CATCH, Client, new_id
from support.processes import exists
from support.waiting import until

SPIN = "print('on')\nwhile True: pass"
FOREVER = {"heartbeat_interval": 3600}


def test_cancel_interrupts_at_once_without_a_grace(client, session):
    stream = client.stream(SPIN, session)
    stream.until_output(b"on\n")
    stream.cancel()
    done = client.finished(session, stream.outcome.execution_id)
    assert done.result.status == done.result.STATUS_CANCELLED
    assert done.result.session_alive
    client.execute("print('free')", session).ok("free\n")


@pytest.mark.parametrize("how", ["cancel", "connection"])
def test_a_grace_waits_for_the_reattach(client, daemon, session, how):
    key = new_id()
    code = "print('on')\nprint(input())"
    with Client(daemon.address) as caller:
        stream = caller.stream(code, session, key, reattach_grace=60,
                               stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
        stream.until_output(b"on\n")
        if how == "cancel":
            stream.cancel()
    again = client.attach_stream(session, key)
    again.until_output(b"on\n")
    client.write_stdin(session, key, b"went on\n", eof=True)
    again.finish().ok("on\nwent on\n")


def test_the_grace_runs_out(client, session):
    stream = client.stream(SPIN, session, reattach_grace=0.2)
    stream.until_output(b"on\n")
    stream.cancel()
    done = client.finished(session, stream.outcome.execution_id)
    assert done.result.status == done.result.STATUS_CANCELLED


def test_a_lost_connection_counts_as_gone(client, daemon, session):
    with Client(daemon.address) as caller:
        stream = caller.stream(SPIN, session)
        stream.until_output(b"on\n")
        key = stream.outcome.execution_id
    done = client.finished(session, key)
    assert done.result.status == done.result.STATUS_CANCELLED


def test_code_that_swallows_the_interrupt_is_killed_after_the_grace(own_daemon):
    client = own_daemon.connect(own_daemon("--interrupt-grace", "200ms"))
    with client.session() as session:
        stream = client.stream(SPIN_AND_CATCH + "while True: pass", session)
        stream.until_output(b"on\n")
        stream.cancel()
        done = client.finished(session, stream.outcome.execution_id)
        assert done.result.status == done.result.STATUS_CANCELLED
        assert not done.result.session_alive


def test_the_clients_deadline_and_the_truth_afterwards(client, session):
    """With a grace the deadline does not cap the limit: the client gets DEADLINE_EXCEEDED, and
    GetExecution tells how it really went."""
    stream = client.stream("print('on')\nprint(input())", session, deadline=1, reattach_grace=60,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    with pytest.raises(grpc.RpcError) as caught:
        stream.finish()
    assert caught.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    key = stream.outcome.execution_id
    state = client.get(session, key).state
    assert state in (ex.Execution.STATE_RUNNING, ex.Execution.STATE_WAITING_FOR_INPUT)
    client.write_stdin(session, key, b"after all\n", eof=True)
    assert client.finished(session, key).result.status == 1


def test_one_of_several_readers_leaving_is_not_gone(client, session):
    key = new_id()
    code = "print('on')\nprint(input())"
    streams = [client.stream(code, session, key, stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
               for _ in range(2)]
    for stream in streams:
        stream.until_output(b"on\n")
    streams[0].cancel()
    client.write_stdin(session, key, b"x\n", eof=True)
    streams[1].finish().ok("on\nx\n")


def test_a_started_execution_does_not_care(client, session):
    started = client.start("print('on')\nprint(input())", session,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    key = started.execution_id
    reader = client.attach_stream(session, key)
    reader.until_output(b"on\n")
    reader.cancel()
    client.write_stdin(session, key, b"x\n", eof=True)
    assert client.finished(session, key).result.status == 1


def test_a_cancelled_run(client, session):
    request = ex.RunRequest(session_id=session, execution_id=new_id())
    request.spec.code = SPIN
    call = client.executions.Run.future(request, timeout=100)
    until(lambda: client.get_session(session).current_execution_id == request.execution_id,
          "it runs")
    call.cancel()
    done = client.finished(session, request.execution_id)
    assert done.result.status == done.result.STATUS_CANCELLED


def test_a_cancelled_throw_away_execution_leaves_nothing(client):
    stream = client.stream("import os\nprint('on', os.getpid())\nwhile True: pass")
    stream.until(lambda o: b"\n" in o.stdout)
    stream.cancel()
    done = client.finished(stream.outcome.session_id, stream.outcome.execution_id)
    assert done.result.status == done.result.STATUS_CANCELLED
    pid = int(stream.outcome.text.split()[1])
    until(lambda: not exists(pid), "the process is gone")


def test_a_cancelled_long_poll(client, session):
    stream = client.stream(SPIN, session)
    stream.until_output(b"on\n")
    request = ex.GetExecutionRequest(session_id=session,
                                     execution_id=stream.outcome.execution_id)
    request.wait.FromSeconds(60)
    polls = [client.executions.GetExecution.future(request) for _ in range(10)]
    for poll in polls:
        poll.cancel()
    client.interrupt(session)
    stream.finish().expect("INTERRUPTED")


def test_a_queued_execution_whose_caller_left_does_not_run(client, session):
    first = client.stream("ran = []\nprint('on')\ninput()", session,
                          stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    first.until_output(b"on\n")
    key = new_id()
    queued = client.stream("ran.append('no')", session, key,
                           busy_policy=ex.ExecutionSpec.BUSY_POLICY_QUEUE)

    def is_queued():
        try:
            return client.get(session, key).state == ex.Execution.STATE_QUEUED
        except grpc.RpcError:
            return False
    until(is_queued, "it waits in the queue")
    queued.cancel()
    assert client.finished(session, key).result.status == 5
    client.write_stdin(session, first.outcome.execution_id, b"\n", eof=True)
    first.finish().ok()
    client.execute("print(ran)", session).ok("[]\n")


def test_cancels_at_random_moments(client, rng):
    """A storm of callers that leave; afterwards every session works."""
    with client.session() as session:
        for _ in range(60):
            stream = client.stream("for i in range(%d): pass" % rng.randrange(200000), session,
                                   busy_policy=ex.ExecutionSpec.BUSY_POLICY_QUEUE)
            if rng.random() < 0.7:
                stream.until(lambda o: o.started)
            stream.cancel()
        queue = {"busy_policy": ex.ExecutionSpec.BUSY_POLICY_QUEUE}
        client.execute("print('whole')", session, **queue).ok("whole\n")
