"""InterruptExecution: at once, only what it is meant for, and harmless when late."""

import pytest
from support.api import ex, ty
from support.client import SPIN_AND_CATCH, new_id
from support.faults import refused

import grpc

SPIN = "print('on')\nwhile True: pass"


def running(client, session, code=SPIN, **spec):
    stream = client.stream(code, session, **spec)
    stream.until_output(b"on\n")
    return stream


def test_interrupt_raises_keyboardinterrupt_and_keeps_the_session(client, session):
    client.execute("kept = 1", session).ok()
    stream = running(client, session)
    client.interrupt(session, stream.outcome.execution_id)
    got = stream.finish().expect("INTERRUPTED", "on\n")
    assert got.result.exc_type == "KeyboardInterrupt"
    assert got.result.session_alive
    client.execute("print(kept)", session).ok("1\n")


def test_empty_execution_id_means_what_runs_now(client, session):
    stream = running(client, session)
    answer = client.interrupt(session)
    assert answer.execution_id == stream.outcome.execution_id
    stream.finish().expect("INTERRUPTED")


def test_interrupt_reaches_a_blocked_input(client, session):
    stream = client.stream("print('on')\ninput()", session,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until(lambda o: o.of_kind("input_request"))
    client.interrupt(session)
    stream.finish().expect("INTERRUPTED")


def test_interrupt_of_a_finished_execution_is_ok_and_hits_nothing(client, session):
    done = client.execute("1", session).ok()
    stream = running(client, session, "print('on')\nprint(input())",
                     stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    answer = client.interrupt(session, done.execution_id)
    assert answer.state == ex.Execution.STATE_FINISHED
    client.write_stdin(session, stream.outcome.execution_id, b"still here\n", eof=True)
    stream.finish().ok("on\nstill here\n")


def test_interrupts_at_random_moments_never_hit_the_next_run(client, session, rng):
    """Whatever the moment, the run after it is whole."""
    for _ in range(60):
        execution_id = new_id()
        loops = rng.randrange(60000)
        stream = client.stream(f"for i in range({loops}): pass", session, execution_id)
        stream.until(lambda o: o.started)
        client.interrupt(session, execution_id)
        client.interrupt(session, execution_id)
        got = stream.finish()
        assert got.status in ("OK", "INTERRUPTED"), got.result
        client.execute("x = 0\nfor i in range(3000): x += i\nassert x == 4498500", session).ok()


def test_interrupt_of_a_queued_execution_ends_it_before_it_runs(client, session):
    first = running(client, session)
    queued = client.start("print('must not run')", session,
                          busy_policy=ex.ExecutionSpec.BUSY_POLICY_QUEUE)
    client.interrupt(session, queued.execution_id)
    done = client.finished(session, queued.execution_id)
    assert done.result.status == done.result.STATUS_INTERRUPTED
    assert done.result.stdout_bytes == 0
    assert client.get(session, first.outcome.execution_id).state == ex.Execution.STATE_RUNNING
    client.interrupt(session)
    first.finish().expect("INTERRUPTED")


def test_kill_ends_the_interpreter(client, session):
    stream = running(client, session)
    client.interrupt(session, kill=True)
    got = stream.finish()
    assert got.status == "INTERRUPTED", got.result
    assert not got.result.session_alive
    assert client.get_session(session).state == ty.SESSION_STATE_DEAD
    with refused("SESSION_DEAD", grpc.StatusCode.FAILED_PRECONDITION):
        client.execute("1", session)
    assert client.restart(session).state in (ty.SESSION_STATE_IDLE, ty.SESSION_STATE_STARTING)
    client.execute("print('back')", session).ok("back\n")


def test_kill_after_turns_an_interrupt_into_a_kill(client, session):
    stream = running(client, session, SPIN_AND_CATCH + "while True: pass")
    client.interrupt(session, kill_after=0.2)
    got = stream.finish()
    assert got.status == "INTERRUPTED", got.result
    assert got.stdout == b"on\ncaught\n"
    assert not got.result.session_alive


def test_a_swallowed_interrupt_without_kill_after_lets_the_code_go_on(client, session):
    stream = running(client, session, SPIN_AND_CATCH + "print('end')")
    client.interrupt(session)
    stream.finish().ok("on\ncaught\nend\n")


def test_a_handler_of_the_users_is_respected(client, session):
    code = "import signal\nhits = []\n" \
           "signal.signal(signal.SIGINT, lambda *a: hits.append(1))\nprint('on')\n" \
           "while not hits: pass\nprint('handled')"
    stream = running(client, session, code)
    client.interrupt(session)
    stream.finish().ok("on\nhandled\n")


@pytest.mark.parametrize("attempt", range(3))
def test_interrupt_of_a_subprocess_reaches_the_whole_foreground(client, session, attempt):
    """As Ctrl-C does: a child in the same process group gets it, too."""
    code = "import subprocess\nprint('on')\n" \
           "subprocess.run(['sh', '-c', 'trap \"echo child; exit\" INT; while :; do :; done'])"
    stream = running(client, session, code)
    client.interrupt(session)
    got = stream.finish()
    assert got.status in ("INTERRUPTED", "OK")
    assert got.result.session_alive


def test_interrupt_of_an_idle_session_says_that_nothing_runs(client, session):
    with refused("EXECUTION_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        client.interrupt(session)
    client.execute("print('fine')", session).ok("fine\n")
