"""Every reason of the error table that a client can meet, with status, details and retry delay."""

import grpc
import pytest
from support import api
from support.api import ex, ss, ty
from support.client import RPC_TIMEOUT, new_id
from support.faults import Fault, refused

NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT


def strange_session(client, unique="01ARZ3NDEKTSV4RRFFQ69G5FAV"):
    return f"{client.info().node_id}-{unique}"


def every_session_call(client, session):
    """name -> a call that needs the session."""
    stub, sessions = client.executions, client.sessions
    return {
        "Execute": lambda: client.execute("1", session),
        "Run": lambda: client.run("1", session),
        "StartExecution": lambda: client.start("1", session),
        "GetSession": lambda: client.get_session(session),
        "RestartSession": lambda: client.restart(session),
        "RenewSession": lambda: sessions.RenewSession(
            ss.RenewSessionRequest(session_id=session), timeout=RPC_TIMEOUT),
        "InterruptExecution": lambda: client.interrupt(session),
        "ListExecutions": lambda: stub.ListExecutions(
            ex.ListExecutionsRequest(session_id=session), timeout=RPC_TIMEOUT),
    }


CALLS = ["Execute", "Run", "StartExecution", "GetSession", "RestartSession", "RenewSession",
         "InterruptExecution", "ListExecutions"]


@pytest.mark.parametrize("name", CALLS)
def test_session_lost_for_ids_of_an_earlier_boot(client, name):
    """The id's time is before this daemon's start: it was there, and is gone."""
    with refused("SESSION_LOST", NOT_FOUND):
        every_session_call(client, strange_session(client))[name]()


@pytest.mark.parametrize("name", CALLS)
def test_session_not_found(client, name):
    """An id of this node and this boot that nobody got."""
    with refused("SESSION_NOT_FOUND", NOT_FOUND):
        every_session_call(client, strange_session(client, "7" + "Z" * 25))[name]()


@pytest.mark.parametrize("name", CALLS)
def test_wrong_node_names_the_header(client, name):
    with refused("WRONG_NODE", grpc.StatusCode.UNAVAILABLE) as fault:
        every_session_call(client, "elsewhere-7" + "Z" * 25)[name]()
    assert "x-pyexec-session" in str(fault[0].metadata) + fault[0].text


@pytest.mark.parametrize("bad", ["nonsense", "-", "a-b", "x" * 300, "node-0123", "é-1"])
def test_ids_that_are_none(client, bad):
    with pytest.raises(grpc.RpcError) as caught:
        request = ss.GetSessionRequest(session_id=bad)
        client.sessions.GetSession(request, timeout=RPC_TIMEOUT)
    fault = Fault(caught.value)
    assert fault.code in (INVALID, NOT_FOUND, grpc.StatusCode.UNAVAILABLE), fault.text
    assert fault.reason in ("INVALID_FIELD", "SESSION_NOT_FOUND", "WRONG_NODE")


def test_session_not_found_after_delete(client):
    session = client.create().session_id
    client.delete(session)
    with refused("SESSION_NOT_FOUND", NOT_FOUND):
        client.execute("1", session)


def test_execution_not_found(client, session):
    with refused("EXECUTION_NOT_FOUND", NOT_FOUND):
        client.get(session, "nothing")
    with refused("EXECUTION_NOT_FOUND", NOT_FOUND):
        client.attach(session, "nothing")
    with refused("EXECUTION_NOT_FOUND", NOT_FOUND):
        client.interrupt(session, "nothing")
    with refused("EXECUTION_NOT_FOUND", NOT_FOUND):
        client.write_stdin(session, "nothing", b"x")


def test_template_not_found(client):
    with refused("TEMPLATE_NOT_FOUND", NOT_FOUND):
        client.create(template_id="no-such-template")


BAD_SPECS = {
    "timeout": {"timeout": -1},
    "busy_policy": {"busy_policy": 77},
    "stdin_mode": {"stdin_mode": 77},
    "overflow_policy": {"overflow_policy": 77},
    "traceback_style": {"traceback_style": 77},
    "reattach_grace": {"reattach_grace": -2},
    "heartbeat_interval": {"heartbeat_interval": -2},
    "env": {"env": {"": "empty name"}},
    "env with =": {"env": {"A=B": "x"}},
    "env with NUL": {"env": {"A": "x\0y"}},
    "filename": {"filename": "a\0b"},
    "code": {"code": "print('a')\0"},
    "filename with slash": {"filename": "../up.py", "write_source_file": True},
    "stdin": {"stdin": b"bytes without INLINE"},
}


@pytest.mark.parametrize("name", BAD_SPECS)
def test_invalid_field_of_a_spec_is_named(client, session, name):
    with refused("INVALID_FIELD", INVALID) as fault:
        client.execute(session=session, **{"code": "print('must not run')", **BAD_SPECS[name]})
    named = fault[0].metadata.get("field", "")
    assert name.split()[0] in named, fault[0].metadata
    assert any(name.split()[0] in f for f in fault[0].fields)
    client.execute("print('untouched')", session).ok("untouched\n")


def test_invalid_fields_of_other_requests(client, session):
    with refused("INVALID_FIELD", INVALID):
        client.create(idle_timeout=-1)
    with refused("INVALID_FIELD", INVALID):
        client.list_sessions(page_token="not a token of ours")
    with refused("INVALID_FIELD", INVALID):
        client.list_sessions(page_size=-1)
    with refused("INVALID_FIELD", INVALID):
        client.executions.InterruptExecution(
            ex.InterruptExecutionRequest(session_id=session, mode=99), timeout=RPC_TIMEOUT)


@pytest.mark.parametrize("bad", ["", "relative/dir"])
def test_invalid_execution_ids(client, session, bad):
    """An execution id is short and printable."""
    if not bad:
        bad = "x" * 1000
    with refused("INVALID_FIELD", INVALID):
        client.execute("1", session, execution_id=bad + "\n")


def test_the_header_must_name_the_same_session(client, session):
    with pytest.raises(grpc.RpcError) as caught:
        client.sessions.GetSession(ss.GetSessionRequest(session_id=session), timeout=RPC_TIMEOUT,
                                   metadata=[("x-pyexec-session", "another-one")])
    assert Fault(caught.value).reason == "INVALID_FIELD"


def test_session_dead(client, session):
    client.execute("import os\nos._exit(1)", session).expect("EXITED")
    with refused("SESSION_DEAD", grpc.StatusCode.FAILED_PRECONDITION):
        client.execute("1", session)


def test_session_busy(client, session):
    stream = client.stream("print('on')\nwhile True: pass", session)
    stream.until_output(b"on\n")
    with refused("SESSION_BUSY", grpc.StatusCode.ABORTED, retry=True) as fault:
        client.run("1", session)
    assert fault[0].metadata == {"currentExecutionId": stream.outcome.execution_id}
    client.interrupt(session)
    stream.finish()


def test_unknown_methods_and_services_are_unimplemented(client):
    for path in ("/pyexec.v1.ExecutionService/NoSuchMethod", "/no.such.Service/Method", "/x/y",
                 "/pyexec.v1.FileService/NoSuchMethod"):
        call = client.channel.unary_unary(path)
        with pytest.raises(grpc.RpcError) as caught:
            call(b"", timeout=RPC_TIMEOUT)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED, path
        stream = client.channel.stream_stream(path)(iter([b""]), timeout=RPC_TIMEOUT)
        with pytest.raises(grpc.RpcError) as caught:
            list(stream)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED, path


@pytest.mark.parametrize("junk", [b"\xff\xff\xff", b"\x0a\xff", b"\x0a\x05abc", b"\x08" * 40,
                                  b"\x0a\x02\xff\xfe"])
def test_requests_that_are_no_message(client, junk):
    """Also bytes that are no UTF-8 where a string is due."""
    for method in ("SessionService/GetSession", "ExecutionService/Run"):
        call = client.channel.unary_unary(f"/pyexec.v1.{method}")
        with pytest.raises(grpc.RpcError) as caught:
            call(junk, timeout=RPC_TIMEOUT)
        assert caught.value.code() in (INVALID, grpc.StatusCode.NOT_FOUND), caught.value
    stream = client.channel.unary_stream("/pyexec.v1.ExecutionService/Execute")(
        junk, timeout=RPC_TIMEOUT)
    with pytest.raises(grpc.RpcError) as caught:
        list(stream)
    assert caught.value.code() in (INVALID, grpc.StatusCode.NOT_FOUND)
    client.ping()


def test_a_message_is_never_a_path_or_a_traceback_of_ours(client, session):
    faults = []
    for call in (lambda: client.get(session, "nothing"),
                 lambda: client.create(template_id="nothing"),
                 lambda: client.create(working_directory="/etc"),
                 lambda: client.execute("1", session, timeout=-1)):
        with pytest.raises(grpc.RpcError) as caught:
            call()
        faults.append(Fault(caught.value))
    for fault in faults:
        assert ".c:" not in fault.text and "Traceback" not in fault.text
        assert fault.has_details


def test_stdin_errors(client, session):
    stream = client.stream("print('on')\nprint(input())", session,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until_output(b"on\n")
    key = stream.outcome.execution_id
    with refused("STDIN_OFFSET", grpc.StatusCode.OUT_OF_RANGE):
        client.write_stdin(session, key, b"x", offset=5)
    client.write_stdin(session, key, b"x\n", eof=True)
    stream.finish().ok("on\nx\n")
    with refused("STDIN_CLOSED", grpc.StatusCode.FAILED_PRECONDITION):
        client.write_stdin(session, key, b"more", offset=2)
    closed = client.execute("1", session)
    with refused("STDIN_CLOSED", grpc.StatusCode.FAILED_PRECONDITION):
        client.write_stdin(session, closed.execution_id, b"x")


def test_node_at_capacity_and_room_again(own_daemon):
    client = own_daemon.connect(own_daemon("--max-sessions", "3", spares=0))
    made = [client.create().session_id for _ in range(3)]
    with refused("NODE_AT_CAPACITY", grpc.StatusCode.UNAVAILABLE, retry=True):
        client.create()
    with refused("NODE_AT_CAPACITY", grpc.StatusCode.UNAVAILABLE, retry=True):
        client.execute("1")
    client.execute("print('those that exist work')", made[0]).ok()
    client.delete(made[0])
    client.execute("print('room')").ok("room\n")


def test_session_queue_full(own_daemon):
    client = own_daemon.connect(own_daemon("--max-session-queue", "2"))
    with client.session() as session:
        stream = client.stream("print('on')\nwhile True: pass", session)
        stream.until_output(b"on\n")
        queue = {"busy_policy": ex.ExecutionSpec.BUSY_POLICY_QUEUE}
        waiting = [client.start("1", session, **queue) for _ in range(2)]
        with refused("SESSION_QUEUE_FULL", grpc.StatusCode.RESOURCE_EXHAUSTED, retry=True):
            client.start("1", session, **queue)
        client.interrupt(session)
        stream.finish()
        for execution in waiting:
            assert client.finished(session, execution.execution_id).result.status == api.OK


def test_request_ids_that_were_used_for_something_else(client):
    key = new_id()
    session = client.create(request_id=key, labels={"a": "b"}).session_id
    with refused("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        client.create(request_id=key)
    client.delete(session)


def test_limits_that_this_profile_can_not_enforce_are_refused_or_in_force(client):
    """A limit that is silently ignored would be a lie."""
    limits = ty.ResourceLimits(memory_bytes=1 << 30)
    try:
        session = client.create(limits=limits)
    except grpc.RpcError as error:
        assert Fault(error).reason in ("INVALID_FIELD", "UNIMPLEMENTED")
    else:
        assert session.limits.memory_bytes == 1 << 30
        client.delete(session.session_id)
