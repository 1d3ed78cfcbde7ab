"""A thin client that checks the rules of every stream it reads.

Rules (proto/pyexec/v1): `started` first; seq rises; each stream's offsets are without a hole or an
overlap but for what a gap names; no message above 1 MiB; exactly one result, and nothing after it;
the result counts the bytes that came.
"""

import contextlib
import uuid

import grpc

from support import api
from support.api import Duration, ex, ss, sv, ty

RPC_TIMEOUT = 110  # seconds; below the watchdog, so that a hang is reported as a broken call
MESSAGE_MAX = 1 << 20
NAMES = {ty.OUTPUT_STREAM_STDOUT: "out", ty.OUTPUT_STREAM_STDERR: "err"}
OPTIONS = [
    ("grpc.max_receive_message_length", 64 << 20),
    ("grpc.max_send_message_length", 64 << 20),
    ("grpc.max_metadata_size", 32 << 10),
    ("grpc.use_local_subchannel_pool", 1),
]


def status_name(result):
    return ty.ExecutionResult.Status.Name(result.status).removeprefix("STATUS_")


def make_spec(code, fields):
    """Keywords are fields of ExecutionSpec; numbers become durations."""
    spec = ex.ExecutionSpec(code=code)
    for name, value in fields.items():
        field = ex.ExecutionSpec.DESCRIPTOR.fields_by_name[name]
        if field.message_type is Duration.DESCRIPTOR:
            getattr(spec, name).CopyFrom(api.duration(value))
        elif isinstance(value, dict):
            getattr(spec, name).update(value)
        else:
            setattr(spec, name, value)
    return spec


class Outcome:
    """Everything that one stream gave."""

    def __init__(self, after_seq=0, replay_from=(0, 0), starts=True):
        self.events = []
        self.starts = starts and after_seq == 0
        self.started = None
        self.result = None
        self.offsets = {ty.OUTPUT_STREAM_STDOUT: replay_from[0],
                        ty.OUTPUT_STREAM_STDERR: replay_from[1]}
        self.seq = after_seq
        self.chunks = []  # (stream name, bytes), in order
        self.gaps = []
        self.heartbeats = 0

    def add(self, event):
        kind = event.WhichOneof("event")
        assert kind is not None, "an event without content"
        assert self.result is None, f"{kind} after the result"
        assert event.ByteSize() <= MESSAGE_MAX, f"a message of {event.ByteSize()} bytes"
        if kind == "heartbeat":
            assert event.seq == 0, "a heartbeat with a seq"
            self.heartbeats += 1
            return
        assert event.seq > self.seq, f"seq {event.seq} after {self.seq}"
        if self.starts and not self.events:
            assert kind == "started", f"the first event is {kind}"
        self.seq = event.seq
        self.events.append(event)
        if kind == "started":
            assert self.started is None, "started twice"
            self.started = event.started
        elif kind == "output":
            self._output(event.output)
        elif kind == "gap":
            assert event.gap.size > 0
            self._advance(event.gap.stream, event.gap.offset, event.gap.size)
            self.gaps.append(event.gap)
        elif kind == "result":
            self._finish(event.result)

    def _output(self, output):
        assert output.data, "an output event without bytes"
        self._advance(output.stream, output.offset, len(output.data))
        self.chunks.append((NAMES[output.stream], output.data))

    def _advance(self, stream, offset, size):
        known = self.offsets[stream]
        if known is None:  # a re-attach whose place in the stream the caller did not say
            known = offset
        assert offset == known, f"offset {offset} where {known} was due"
        self.offsets[stream] = offset + size

    def _finish(self, result):
        assert result.status != ty.ExecutionResult.STATUS_UNSPECIFIED
        for stream, counted in ((ty.OUTPUT_STREAM_STDOUT, result.stdout_bytes),
                                (ty.OUTPUT_STREAM_STDERR, result.stderr_bytes)):
            got = self.offsets[stream]
            assert got is None or got == counted, f"{NAMES[stream]}: {got} of {counted} bytes came"
        if self.started is not None:
            ids = (self.started.session_id, self.started.execution_id)
            assert ids == (result.session_id, result.execution_id), f"{ids}: another execution's {result}"
        self.result = result

    @property
    def stdout(self):
        return b"".join(data for name, data in self.chunks if name == "out")

    @property
    def stderr(self):
        return b"".join(data for name, data in self.chunks if name == "err")

    @property
    def text(self):
        return self.stdout.decode()

    @property
    def merged(self):
        """Chunks in order, neighbours of one stream joined."""
        joined = []
        for name, data in self.chunks:
            if joined and joined[-1][0] == name:
                joined[-1][1].append(data)
            else:
                joined.append((name, [data]))
        return [(name, b"".join(parts)) for name, parts in joined]

    def of_kind(self, kind):
        return [getattr(e, kind) for e in self.events if e.HasField(kind)]

    @property
    def displays(self):
        return self.of_kind("display")

    @property
    def status(self):
        return status_name(self.result)

    @property
    def session_id(self):
        return self.started.session_id

    @property
    def execution_id(self):
        return self.started.execution_id

    def expect(self, status, stdout=None):
        """Asserts the status by name; says everything where it is another."""
        assert self.result is not None, "no result"
        assert self.status == status, (
            f"{self.status}: {self.result.exc_type}: {self.result.exc_message}\n"
            f"{self.result.traceback}\nstdout {self.stdout[-500:]!r}\nstderr {self.stderr[-500:]!r}\n"
            f"{list(self.result.warnings)}")
        if stdout is not None:
            wanted = stdout.encode() if isinstance(stdout, str) else stdout
            assert self.stdout == wanted, f"{self.stdout[-500:]!r} where {wanted[-500:]!r} was due"
        return self

    def ok(self, stdout=None):
        return self.expect("OK", stdout)


class Stream:
    """A running Execute or AttachExecution call, read step by step."""

    def __init__(self, call, outcome):
        self.call = call
        self.outcome = outcome

    def next(self):
        """The next event; None at the end of a stream that is complete."""
        try:
            event = next(self.call).event
        except StopIteration:
            assert self.outcome.result is not None, "the stream ended without a result"
            return None
        self.outcome.add(event)
        return event

    def until(self, condition):
        """Reads on until condition(outcome)."""
        while not condition(self.outcome):
            assert self.next() is not None, f"the end came first: {self.outcome.result}"
        return self.outcome

    def until_output(self, wanted):
        return self.until(lambda o: wanted in o.stdout)

    def finish(self):
        while self.next() is not None:
            pass
        return self.outcome

    def cancel(self):
        self.call.cancel()


class Client:
    """All services of one daemon over one channel."""

    def __init__(self, address):
        self.address = address
        self.channel = grpc.insecure_channel(
            address if address.startswith("unix") else f"ipv4:{address}"
            if address[0].isdigit() else address, options=OPTIONS)
        self.executions = api.ExecutionServiceStub(self.channel)
        self.sessions = api.SessionServiceStub(self.channel)
        self.server = api.ServerServiceStub(self.channel)
        self.files = api.FileServiceStub(self.channel)

    def close(self):
        self.channel.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    @staticmethod
    def _call(session_id, deadline):
        metadata = [("x-pyexec-session", session_id)] if session_id else []
        return {"metadata": metadata, "timeout": deadline}

    # --- executions ----------------------------------------------------------------------------
    def stream(self, code, session="", execution_id="", deadline=RPC_TIMEOUT, **spec):
        request = ex.ExecuteRequest(session_id=session, execution_id=execution_id,
                                    spec=make_spec(code, spec))
        return Stream(self.executions.Execute(request, **self._call(session, deadline)), Outcome())

    def execute(self, code, session="", execution_id="", **fields):
        return self.stream(code, session, execution_id, **fields).finish()

    def run(self, code, session="", execution_id="", deadline=RPC_TIMEOUT, **spec):
        request = ex.RunRequest(session_id=session, execution_id=execution_id,
                                spec=make_spec(code, spec))
        return self.executions.Run(request, **self._call(session, deadline))

    def start(self, code, session, execution_id="", **spec):
        request = ex.StartExecutionRequest(session_id=session, execution_id=execution_id,
                                           spec=make_spec(code, spec))
        call = self._call(session, RPC_TIMEOUT)
        return self.executions.StartExecution(request, **call).execution

    def attach_stream(self, session, execution_id, after_seq=0, replay_from=None, heartbeat=0,
                      deadline=RPC_TIMEOUT):
        request = ex.AttachExecutionRequest(session_id=session, execution_id=execution_id,
                                            after_seq=after_seq)
        if heartbeat:
            request.heartbeat_interval.CopyFrom(api.duration(heartbeat))
        if replay_from is None:
            replay_from = (None, None) if after_seq else (0, 0)
        call = self.executions.AttachExecution(request, **self._call(session, deadline))
        return Stream(call, Outcome(after_seq, replay_from))

    def attach(self, session, execution_id, **fields):
        return self.attach_stream(session, execution_id, **fields).finish()

    def background(self, session):
        """The session's background output: a log without `started`, and without an end while
        the session lives."""
        stream = self.attach_stream(session, "background")
        stream.outcome.starts = False
        return stream

    def get(self, session, execution_id, wait=0, deadline=RPC_TIMEOUT):
        request = ex.GetExecutionRequest(session_id=session, execution_id=execution_id)
        if wait:
            request.wait.CopyFrom(api.duration(wait))
        return self.executions.GetExecution(request, **self._call(session, deadline)).execution

    def finished(self, session, execution_id):
        """Waits in the server for the end; the execution."""
        execution = self.get(session, execution_id, wait=100)
        assert execution.state == ex.Execution.STATE_FINISHED, execution
        return execution

    def interrupt(self, session, execution_id="", kill=False, kill_after=0):
        modes = ex.InterruptExecutionRequest
        request = modes(session_id=session, execution_id=execution_id,
                        mode=modes.MODE_KILL if kill else modes.MODE_INTERRUPT)
        if kill_after:
            request.kill_after.CopyFrom(api.duration(kill_after))
        call = self._call(session, RPC_TIMEOUT)
        return self.executions.InterruptExecution(request, **call).execution

    def write_stdin(self, session, execution_id, data=b"", offset=0, eof=False):
        request = ex.WriteStdinRequest(session_id=session, execution_id=execution_id,
                                       offset=offset, data=data, eof=eof)
        return self.executions.WriteStdin(request, **self._call(session, RPC_TIMEOUT))

    # --- sessions ------------------------------------------------------------------------------
    def create(self, **fields):
        """Keywords are fields of CreateSessionRequest; numbers become durations."""
        request = ss.CreateSessionRequest()
        for name, value in fields.items():
            if name in ("idle_timeout", "max_lifetime"):
                getattr(request, name).CopyFrom(api.duration(value))
            elif isinstance(value, dict):
                getattr(request, name).update(value)
            elif name == "limits":
                request.limits.CopyFrom(value)
            else:
                setattr(request, name, value)
        return self.sessions.CreateSession(request, timeout=RPC_TIMEOUT).session

    def get_session(self, session):
        request = ss.GetSessionRequest(session_id=session)
        return self.sessions.GetSession(request, **self._call(session, RPC_TIMEOUT)).session

    def list_sessions(self, **fields):
        labels = fields.pop("labels", {})
        request = ss.ListSessionsRequest(**fields)
        request.labels.update(labels)
        return self.sessions.ListSessions(request, timeout=RPC_TIMEOUT)

    def delete(self, session):
        request = ss.DeleteSessionRequest(session_id=session)
        self.sessions.DeleteSession(request, **self._call(session, RPC_TIMEOUT))

    def restart(self, session, request_id=""):
        request = ss.RestartSessionRequest(session_id=session, request_id=request_id)
        return self.sessions.RestartSession(request, **self._call(session, RPC_TIMEOUT)).session

    @contextlib.contextmanager
    def session(self, **fields):
        made = self.create(**fields)
        try:
            yield made.session_id
        finally:
            self.delete(made.session_id)

    # --- server --------------------------------------------------------------------------------
    def info(self):
        return self.server.GetServerInfo(sv.GetServerInfoRequest(), timeout=RPC_TIMEOUT)

    def ping(self, **fields):
        return self.server.Ping(sv.PingRequest(**fields), timeout=RPC_TIMEOUT)


def new_id():
    return str(uuid.uuid4())

# Says "on", spins, and catches what ends that. The loop runs in a frame below the try: CPython 3.11
# does not catch an interrupt that hits the jump of `while True: pass` in the same frame. What "on"
# announces is inside of the try, so that an interrupt after it is always caught.
SPIN_AND_CATCH = """
try:
    exec("print('on')\\nwhile True: pass")
except BaseException:
    print('caught')
"""
