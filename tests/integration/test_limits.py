"""Each bound: its maximum works, one more is refused with the reason."""

import grpc
import pytest
from support.api import ex, sv, ty
from support.client import Client
from support.faults import Fault, refused
from support.waiting import until

INVALID = grpc.StatusCode.INVALID_ARGUMENT
KIB, MIB = 1 << 10, 1 << 20


def test_code_bytes(own_daemon):
    client = own_daemon.connect(own_daemon("--max-code-bytes", "64KiB"))
    tail = "\nprint('ran')"
    room = 64 * KIB - len(tail)
    client.execute("#" * room + tail).ok("ran\n")
    with refused("CODE_TOO_LARGE", INVALID):
        client.execute("#" * (room + 1) + tail)
    with refused("CODE_TOO_LARGE", INVALID):
        client.run("€" * (64 * KIB // 3 + 1))


def test_code_of_the_default_maximum(client, session):
    tail = "\nprint('ran')"
    client.execute("#" * (16 * MIB - len(tail)) + tail, session).ok("ran\n")
    with refused("CODE_TOO_LARGE", INVALID):
        client.execute("#" * (16 * MIB - len(tail) + 1) + tail, session)


def test_a_request_beyond_the_message_limit_is_refused_and_the_call_ends(client, session):
    with pytest.raises(grpc.RpcError) as caught:
        client.execute("#" * (21 * MIB), session)
    assert caught.value.code() in (grpc.StatusCode.RESOURCE_EXHAUSTED, INVALID)
    client.execute("print('fine')", session).ok("fine\n")


def labels(count, size=1):
    return {f"{i:0{max(size, 4)}d}"[-max(size, 4):]: "v" for i in range(count)}


def test_labels_of_a_session(client):
    client.delete(client.create(labels=labels(32)).session_id)
    with refused("INVALID_FIELD", INVALID) as fault:
        client.create(labels=labels(33))
    assert "labels" in fault[0].metadata["field"]


@pytest.mark.parametrize("key, value", [(256, 256), (1, 0)])
def test_label_sizes_at_the_maximum(client, key, value):
    client.delete(client.create(labels={"k" * key: "v" * value}).session_id)


@pytest.mark.parametrize("key, value", [(257, 1), (1, 257)])
def test_label_sizes_beyond_the_maximum(client, key, value):
    with refused("INVALID_FIELD", INVALID):
        client.create(labels={"k" * key: "v" * value})


def test_labels_of_an_execution(client, session):
    client.execute("1", session, labels=labels(32)).ok()
    with refused("INVALID_FIELD", INVALID):
        client.execute("1", session, labels=labels(33))


def test_environment_entries(client, session):
    client.execute("1", session, env={f"V{i}": "x" for i in range(256)}).ok()
    with refused("INVALID_FIELD", INVALID):
        client.execute("1", session, env={f"V{i}": "x" for i in range(257)})


def test_environment_bytes(client, session):
    limit = 128 * KIB
    client.execute("1", session, env={"V": "x" * (limit - 1)}).ok()
    with refused("INVALID_FIELD", INVALID):
        client.execute("1", session, env={"V": "x" * limit})


def test_inline_stdin_bytes(client, session):
    inline = {"stdin_mode": ex.ExecutionSpec.STDIN_MODE_INLINE}
    count = "import sys\nprint(len(sys.stdin.buffer.read()))"
    client.execute(count, session, stdin=b"x" * (16 * MIB), **inline).ok(f"{16 * MIB}\n")
    with refused("INVALID_FIELD", INVALID):
        client.execute(count, session, stdin=b"x" * (16 * MIB + 1), **inline)


def test_retained_output(own_daemon):
    client = own_daemon.connect(own_daemon("--output-bytes", "8KiB", "--max-output-bytes", "64KiB"))
    with client.session() as session:
        for size, spec in ((8 * KIB, {}), (64 * KIB, {"max_output_bytes": 64 * KIB})):
            code = f"import os\nos.write(1, b'x' * {size})"
            got = client.execute(code, session, **spec).ok()
            assert got.result.dropped_bytes == 0
            assert client.attach(session, got.execution_id).stdout == b"x" * size
            more = client.execute(code + "\nos.write(1, b'y')", session, **spec).ok()
            replay = client.attach(session, more.execution_id)
            assert more.result.dropped_bytes >= 1
            assert len(replay.stdout) == size + 1 - more.result.dropped_bytes
            assert replay.stdout.endswith(b"y")
        with refused("INVALID_FIELD", INVALID):
            client.execute("1", session, max_output_bytes=64 * KIB + 1)


def test_retained_output_of_all_executions(own_daemon):
    """Beyond the bound the oldest finished executions go first."""
    client = own_daemon.connect(own_daemon("--retained-bytes", "8MiB"))
    with client.session() as session:
        code = "import os\nfor i in range(30): os.write(1, b'x' * 100000)"
        ids = [client.execute(code, session).ok().execution_id for _ in range(5)]
        assert len(client.attach(session, ids[-1]).stdout) == 3_000_000
        with refused("EXECUTION_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
            client.attach(session, ids[0])


def test_exception_text(client, session):
    """1 MiB of text, the middle cut; the message of the stream stays below its bound."""
    got = client.execute("raise ValueError('<' + 'x' * 5000000 + '>')", session).expect("ERROR")
    result = got.result
    assert len(result.traceback) <= MIB and len(result.exc_message) <= MIB
    assert result.traceback.rstrip().endswith("x>") and "ValueError: <x" in result.traceback
    assert result.ByteSize() < MIB


def test_exception_frames(client, session):
    code = "import sys\nsys.setrecursionlimit(5000)\ndef f(n):\n    return f(n - 1) if n else 1/0\n" \
           "f({})"
    fits = client.execute(code.format(998), session).expect("ERROR").result
    assert len(fits.frames) == 1000
    cut = client.execute(code.format(999), session).expect("ERROR").result
    assert len(cut.frames) == 1000 or len(cut.frames) < 1000
    assert cut.frames[0].function == "<module>" and cut.frames[-1].function == "f"
    assert any("frame" in w for w in cut.warnings), cut.warnings


def test_max_running_makes_executions_wait_their_turn(own_daemon):
    client = own_daemon.connect(own_daemon("--max-running", "1"))
    stream = client.stream("print('on')\nprint(input())", "",
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until_output(b"on\n")
    assert client.info().capacity.running_executions == 1
    with client.session() as session:
        waiting = client.start("print('second')", session)
        assert client.get(session, waiting.execution_id).state == ex.Execution.STATE_QUEUED
        assert client.info().capacity.queued_executions == 1
        client.write_stdin(stream.outcome.session_id, stream.outcome.execution_id, b"\n", eof=True)
        stream.finish().ok()
        assert client.finished(session, waiting.execution_id).result.status == 1
        assert client.attach(session, waiting.execution_id).stdout == b"second\n"


def test_max_connections(own_daemon):
    daemon = own_daemon("--max-connections", "2")
    one, two = (own_daemon.connect(daemon) for _ in range(2))
    one.ping()
    two.ping()
    three = own_daemon.connect(daemon)
    with pytest.raises(grpc.RpcError) as caught:
        three.server.Ping(_ping(), timeout=3)
    assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    one.ping()
    two.close()
    three.close()
    fresh = own_daemon.connect(daemon)
    fresh.server.Ping(_ping(), timeout=60, wait_for_ready=True)


def _ping():
    return sv.PingRequest()


def test_max_calls(own_daemon):
    daemon = own_daemon("--max-calls", "3")
    client = own_daemon.connect(daemon)
    with client.session() as session:
        stream = client.stream("print('on')\nwhile True: pass", session)
        stream.until_output(b"on\n")
        more = [client.attach_stream(session, stream.outcome.execution_id) for _ in range(2)]
        for reader in more:
            reader.until_output(b"on\n")
        with pytest.raises(grpc.RpcError) as caught:
            client.ping()
        assert Fault(caught.value).reason == "NODE_AT_CAPACITY"
        more[0].cancel()
        more[1].cancel()
        stream.cancel()

        def accepted():
            try:
                return client.ping()
            except grpc.RpcError:
                return None
        until(accepted, "calls are accepted again")


def test_ping_sizes(client):
    answer = client.ping(payload=b"abc", response_bytes=1000)
    assert len(answer.payload) == 1000
    assert client.ping(payload=b"abc").payload == b"abc"
    with pytest.raises(grpc.RpcError) as caught:
        client.ping(response_bytes=1 << 31)
    assert Fault(caught.value).reason == "INVALID_FIELD"


def test_metadata_beyond_16_kib_is_refused(daemon, client):
    """gRPC core ends the connection as well, hence one of its own; others go on."""
    ok = [("x-filler", "v" * 4000)]
    with Client(daemon.address) as own:
        own.server.Ping(sv.PingRequest(), timeout=60, metadata=ok)
        with pytest.raises(grpc.RpcError) as caught:
            own.server.Ping(sv.PingRequest(), timeout=60, metadata=[("x-filler", "v" * 40000)])
        assert caught.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    client.ping()


def test_server_info_reports_the_limits(own_daemon):
    client = own_daemon.connect(own_daemon("--max-sessions", "17", "--max-running", "5",
                                           "--max-timeout", "2h", "--node-id", "n1"))
    info = client.info()
    assert info.capacity.max_sessions == 17
    assert info.capacity.max_running_executions == 5
    assert info.max_limits.max_timeout.seconds == 7200
    assert info.node_id == "n1"
    assert info.python_version.startswith("3.")
    assert {"fork", "stdin", "display"} & set(info.features)
    assert info.templates


def test_display_parts_beyond_the_inline_limit_do_not_break_the_stream(client, session):
    code = "class Big:\n    def _repr_html_(self): return 'x' * 3000000\n" \
           "    def __repr__(self): return 'big'\ndisplay(Big())\nprint('after')"
    got = client.execute(code, session).ok("after\n")
    assert any("text/html" in w for w in got.result.warnings), got.result.warnings
    types = [p.mime_type for d in got.displays for p in d.bundle.parts]
    assert types == ["text/plain"]


def test_large_values_are_bounded(client, session):
    got = client.execute("'y' * 5000000", session)
    got.ok()
    assert got.result.ByteSize() < MIB


def test_a_flood_of_displays_is_bounded_by_the_output_limit(client, session):
    code = "for i in range(2000): display('x' * 1000)"
    got = client.execute(code, session, max_output_bytes=100000)
    assert got.status == "OK"
    retained = client.attach(session, got.execution_id)
    assert sum(e.ByteSize() for e in retained.events) < 400000


def test_unknown_limits_are_zero_not_invented(client):
    limits = client.info().default_limits
    assert isinstance(limits, ty.ResourceLimits)
