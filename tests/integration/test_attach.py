"""Attach and re-attach: a dropped connection loses nothing."""

import grpc
from support.api import ex, seconds
from support.client import Client, new_id
from support.faults import refused
from support.waiting import until

NUMBERED = "for i in range(60000): print('%06d' % i)\nimport sys\nprint('end', file=sys.stderr)"
WHOLE = b"".join(b"%06d\n" % i for i in range(60000))


def test_a_client_killed_at_random_and_reattached_has_every_byte_once(daemon, client, session, rng):
    """Each time over a new connection, from the last seq that it has."""
    for _ in range(6):
        key = new_id()
        client.start(NUMBERED, session, key)
        got, seq, result, offsets = [], 0, None, (0, 0)
        while result is None:
            with Client(daemon.address) as fresh:
                stream = fresh.attach_stream(session, key, after_seq=seq, replay_from=offsets)
                for _ in range(rng.randint(1, 12)):
                    if stream.next() is None:
                        break
                outcome = stream.outcome
                got += outcome.chunks
                seq, result = outcome.seq, outcome.result
                offsets = tuple(outcome.offsets.values())
                stream.cancel()
        assert b"".join(d for s, d in got if s == "out") == WHOLE
        assert b"".join(d for s, d in got if s == "err") == b"end\n"


def test_a_reattach_from_any_seq_continues_exactly(client, session):
    got = client.execute("import sys\nfor i in range(200):\n    print(i)\n"
                         "    print(-i, file=sys.stderr)", session).ok()
    whole = client.attach(session, got.execution_id)
    for place in range(0, len(whole.events), 7):
        event = whole.events[place]
        rest = client.attach(session, got.execution_id, after_seq=event.seq)
        wanted = whole.events[place + 1:]
        assert b"".join(d for s, d in rest.chunks if s == "out") == b"".join(
            e.output.data for e in wanted if e.output.stream == 1)
        assert rest.result == whole.result


def test_replays_are_identical(client, session):
    got = client.execute("print('a')\n1/0", session)
    one, two = (client.attach(session, got.execution_id) for _ in range(2))
    assert one.events == two.events
    assert one.result == got.result
    assert one.started.replayed


def test_many_readers_see_the_same(client, session):
    key = new_id()
    stream = client.stream("print('on')\nprint(input())\n" + NUMBERED, session, key,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until_output(b"on\n")
    readers = [client.attach_stream(session, key) for _ in range(10)]
    for reader in readers:
        reader.until_output(b"on\n")
    client.write_stdin(session, key, b"go\n", eof=True)
    wanted = stream.finish().ok(b"on\ngo\n" + WHOLE)
    for reader in readers:
        assert reader.finish().stdout == wanted.stdout


def test_a_reader_that_leaves_disturbs_nobody(client, session):
    stream = client.stream("print('on')\nprint(input())", session,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until_output(b"on\n")
    reader = client.attach_stream(session, stream.outcome.execution_id)
    reader.until_output(b"on\n")
    reader.cancel()
    client.write_stdin(session, stream.outcome.execution_id, b"x\n", eof=True)
    stream.finish().ok("on\nx\n")


def test_started_executions_run_without_any_reader(client, session):
    started = client.start("print('alone')", session)
    assert started.session_id == session and started.execution_id
    done = client.finished(session, started.execution_id)
    assert done.result.status == done.result.STATUS_OK
    assert done.end_time.ToNanoseconds() >= done.start_time.ToNanoseconds()
    assert done.retained_until.ToNanoseconds() > done.end_time.ToNanoseconds()
    assert client.attach(session, started.execution_id).stdout == b"alone\n"


def test_a_seq_beyond_the_log_is_refused(client, session):
    got = client.execute("1", session)
    with refused("SEQ_OUT_OF_RANGE", grpc.StatusCode.OUT_OF_RANGE):
        client.attach(session, got.execution_id, after_seq=got.seq + 1)


def test_attach_after_the_result_gives_an_empty_stream(client, session):
    """The caller has everything: nothing is left to give, and that is no error."""
    got = client.execute("1", session)
    call = client.attach_stream(session, got.execution_id, after_seq=got.seq).call
    assert list(call) == []


def test_heartbeats_keep_a_silent_stream_alive(client, session):
    stream = client.stream("print('on')\nprint(input())", session, heartbeat_interval=0.1,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until(lambda o: o.heartbeats >= 3)
    other = client.attach_stream(session, stream.outcome.execution_id, heartbeat=0.1)
    other.until(lambda o: o.heartbeats >= 2)
    client.write_stdin(session, stream.outcome.execution_id, b"x\n", eof=True)
    stream.finish().ok()
    replay = client.attach(session, stream.outcome.execution_id)
    assert replay.heartbeats == 0, "heartbeats are not stored"


def test_list_shows_the_executions_newest_first(client, session):
    ids = [client.execute("1", session).execution_id for _ in range(5)]
    listed, token = [], ""
    while True:
        page = client.executions.ListExecutions(ex.ListExecutionsRequest(
            session_id=session, page_size=2, page_token=token))
        listed += [e.execution_id for e in page.executions]
        token = page.next_page_token
        if not token:
            break
    assert listed == ids[::-1]


def test_get_waits_for_the_end_and_no_longer_than_asked(client, session):
    stream = client.stream("print('on')\nwhile True: pass", session)
    stream.until_output(b"on\n")
    key = stream.outcome.execution_id
    running = client.get(session, key, wait=0.2)
    assert running.state == ex.Execution.STATE_RUNNING
    assert not running.HasField("result")
    assert running.last_seq >= 2
    client.interrupt(session)
    done = client.finished(session, key)
    assert done.result == stream.finish().result


def test_results_are_forgotten_after_the_retention(own_daemon):
    client = own_daemon.connect(own_daemon("--retain", "300ms"))
    with client.session() as session:
        got = client.execute("print('x')", session).ok()

        def forgotten():
            try:
                client.get(session, got.execution_id)
            except grpc.RpcError as error:
                return error.code() == grpc.StatusCode.NOT_FOUND
            return False

        until(forgotten, "the execution is forgotten")
        with refused("EXECUTION_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
            client.attach(session, got.execution_id)


def test_first_output_is_never_lost_before_the_reader_is_there(client):
    """A program that ends at once, a hundred times: its output is always there."""
    for _ in range(100):
        client.execute("print('x')").ok("x\n")


def test_elapsed_of_heartbeats_rises(client, session):
    stream = client.stream("input()", session, heartbeat_interval=0.05,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    beats = []
    while len(beats) < 3:
        event = stream.next()
        if event.HasField("heartbeat"):
            beats.append(seconds(event.heartbeat.elapsed))
    assert beats == sorted(beats) and beats[-1] > beats[0]
    client.interrupt(session)
    stream.finish()
