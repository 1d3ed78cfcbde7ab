"""Random operations on sessions and executions against a simple model.

The model knows, for each session, the value of one variable, whether the interpreter lives, and the
output of every execution that ended. Whatever the order of operations, crashes, client deaths and
zygote kills, the service must agree with it. A failure names the seed and the step:
PYEXEC_TEST_SEED=... repeats it.
"""

import os
import random
import signal

import grpc
from grpc import StatusCode
from support.api import ex, ss, ty
from support.client import RPC_TIMEOUT, new_id
from support.faults import Fault, refused

STEPS = 2_500
EXHAUSTIVE_STEPS = 100_000
SESSIONS_AT_ONCE = 12  # and up to two more that a fork adds
REMEMBERED = 40  # finished executions that are read again


class ModelSession:
    """What we believe of one session."""

    def __init__(self, session_id):
        self.id = session_id
        self.value = None  # of the variable x; None: not defined
        self.alive = True
        self.generation = 0


class Model:
    """The operations; each acts on the service and on the belief, and compares."""

    def __init__(self, client, daemon, rng):
        self.client = client
        self.daemon = daemon
        self.rng = rng
        self.label = {"model": new_id()}
        self.sessions = []
        self.deleted = []
        self.finished = []  # (session id, execution id, stdout, status name)
        self.history = []  # what was done last, for the message of a failure
        self.steps = {
            self.create: 4, self.delete: 3, self.restart: 2, self.put: 20, self.get: 20,
            self.throw_away: 5, self.raise_error: 4, self.crash: 2, self.run_on_dead: 2,
            self.busy: 2, self.interrupt: 2, self.leave: 3, self.queue: 2, self.read_again: 8,
            self.repeat_id: 3, self.lost_session: 2, self.compare_list: 1, self.limit: 1,
            self.fork: 4, self.fork_dead: 1,
        }

    # --- help ----------------------------------------------------------------------------------
    def any_session(self, alive=None):
        found = [s for s in self.sessions if alive is None or s.alive == alive]
        session = self.rng.choice(found) if found else None
        self.history.append(f"  on {session.id}" if session else "  on none")
        return session

    def remember(self, outcome):
        self.finished.append((outcome.session_id, outcome.execution_id, outcome.stdout,
                              outcome.status))
        del self.finished[:-REMEMBERED]

    @staticmethod
    def forking(call):
        """A zygote that dies while it forks is FORK_FAILED: nothing was run, and a retry is right."""
        while True:
            try:
                return call()
            except grpc.RpcError as error:
                if Fault(error).reason != "FORK_FAILED":
                    raise

    # --- sessions ------------------------------------------------------------------------------
    def create(self):
        if len(self.sessions) < SESSIONS_AT_ONCE:
            made = self.forking(lambda: self.client.create(labels=self.label))
            session = ModelSession(made.session_id)
            session.generation = made.generation
            self.sessions.append(session)

    def delete(self):
        session = self.any_session()
        if session and len(self.sessions) > 2:
            self.client.delete(session.id)
            self.sessions.remove(session)
            self.deleted.append(session.id)
            del self.deleted[:-REMEMBERED]
            self.finished = [f for f in self.finished if f[0] != session.id]

    def restart(self):
        session = self.any_session()
        if session:
            now = self.forking(lambda: self.client.restart(session.id))
            assert now.generation > session.generation
            session.generation = now.generation
            session.value, session.alive = None, True

    def fork(self):
        """Branches have the parent's value, and one of their own from then on."""
        session = self.any_session(alive=True)
        if session and len(self.sessions) < SESSIONS_AT_ONCE:
            request = ss.ForkSessionRequest(session_id=session.id, count=self.rng.randint(1, 3),
                                            labels=self.label)
            made = self.forking(lambda: self.client.sessions.ForkSession(
                request, timeout=RPC_TIMEOUT)).sessions
            assert len(made) == request.count
            for one in made:
                assert one.parent_session_id == session.id
                branch = ModelSession(one.session_id)
                branch.generation, branch.value = one.generation, session.value
                self.sessions.append(branch)

    def fork_dead(self):
        session = self.any_session(alive=False)
        if session:
            with refused("SESSION_DEAD", StatusCode.FAILED_PRECONDITION):
                self.client.sessions.ForkSession(
                    ss.ForkSessionRequest(session_id=session.id), timeout=RPC_TIMEOUT)

    def lost_session(self):
        if self.deleted:
            session_id = self.rng.choice(self.deleted)
            with refused("SESSION_NOT_FOUND", StatusCode.NOT_FOUND):
                self.client.get_session(session_id)
            self.client.delete(session_id)  # deleting twice is fine

    def compare_list(self):
        listed = self.client.list_sessions(labels=self.label, page_size=1000).sessions
        assert {s.session_id for s in listed} == {s.id for s in self.sessions}
        for one in listed:
            believed = next(s for s in self.sessions if s.id == one.session_id)
            assert (one.state == ty.SESSION_STATE_DEAD) != believed.alive

    # --- executions ----------------------------------------------------------------------------
    def put(self):
        session = self.any_session(alive=True)
        if session:
            session.value = self.rng.randrange(10**9)
            out = self.client.execute(f"x = {session.value}; print('set', x)", session.id)
            self.remember(out.ok(f"set {session.value}\n"))

    def get(self):
        session = self.any_session(alive=True)
        if session:
            out = self.client.execute("print(globals().get('x'))", session.id)
            self.remember(out.ok(f"{session.value}\n"))

    def throw_away(self):
        n = self.rng.randrange(1000)
        code = f"print({n}, 'x' in globals())"
        self.forking(lambda: self.client.execute(code)).ok(f"{n} False\n")

    def raise_error(self):
        session = self.any_session(alive=True)
        if session:
            out = self.client.execute("print('before'); 1 / 0", session.id)
            assert out.expect("ERROR", "before\n").result.exc_type == "ZeroDivisionError"
            assert out.result.session_alive
            self.remember(out)

    def crash(self):
        session = self.any_session(alive=True)
        if session:
            how, status = self.rng.choice([
                ("os._exit(7)", "EXITED"), ("os.kill(os.getpid(), 9)", "CRASHED"),
                ("os.abort()", "CRASHED")])
            out = self.client.execute(f"import os; print('last'); {how}", session.id)
            assert not out.expect(status, "last\n").result.session_alive
            session.alive, session.value = False, None
            self.remember(out)

    def run_on_dead(self):
        session = self.any_session(alive=False)
        if session:
            with refused("SESSION_DEAD", StatusCode.FAILED_PRECONDITION):
                self.client.execute("1", session.id)

    def waiting(self, session):
        """An execution that runs until it is interrupted."""
        stream = self.client.stream(
            "import time\ntry:\n    print('waiting')\n    while True: time.sleep(100)\n"
            "except KeyboardInterrupt:\n    print('woken'); raise", session.id, reattach_grace=60)
        stream.until_output(b"waiting\n")
        return stream

    def busy(self):
        session = self.any_session(alive=True)
        if session:
            stream = self.waiting(session)
            with refused("SESSION_BUSY", StatusCode.ABORTED, retry=True):
                self.client.execute("1", session.id)
            self.end_by_interrupt(session, stream)

    def end_by_interrupt(self, session, stream):
        self.client.interrupt(session.id)
        out = stream.finish().expect("INTERRUPTED", "waiting\nwoken\n")
        assert out.result.session_alive
        self.remember(out)

    def interrupt(self):
        session = self.any_session(alive=True)
        if session:
            self.end_by_interrupt(session, self.waiting(session))

    def queue(self):
        session = self.any_session(alive=True)
        if session:
            stream = self.waiting(session)
            queued = self.client.start("x = 'queued'; print(x)", session.id,
                                       busy_policy=ex.ExecutionSpec.BUSY_POLICY_QUEUE)
            self.end_by_interrupt(session, stream)
            done = self.client.attach(session.id, queued.execution_id)
            self.remember(done.ok("queued\n"))
            session.value = "queued"

    def leave(self):
        """The caller vanishes; the code is interrupted, and all of it can be read afterwards."""
        session = self.any_session(alive=True)
        if session:
            stream = self.client.stream(
                "print('alone')\nimport time\nwhile True: time.sleep(100)", session.id)
            stream.until_output(b"alone\n")
            execution = stream.outcome.execution_id
            stream.cancel()
            self.client.finished(session.id, execution)
            self.remember(self.client.attach(session.id, execution).expect("CANCELLED", "alone\n"))

    def limit(self):
        session = self.any_session(alive=True)
        if session:
            out = self.client.execute("print('on')\nwhile True: pass", session.id, timeout=0.05)
            self.remember(out.expect("TIMEOUT_ERROR"))
            assert out.result.session_alive

    def read_again(self):
        if self.finished:
            session_id, execution_id, stdout, status = self.rng.choice(self.finished)
            again = self.client.attach(session_id, execution_id)
            assert (again.stdout, again.status) == (stdout, status)

    def repeat_id(self):
        session = self.any_session(alive=True)
        if session:
            execution_id, code = new_id(), "y = globals().get('y', 0) + 1; print(y)"
            first = self.client.execute(code, session.id, execution_id=execution_id).ok()
            again = self.client.execute(code, session.id, execution_id=execution_id).ok()
            assert again.started.replayed and not first.started.replayed
            assert again.stdout == first.stdout
            with refused("EXECUTION_ID_REUSED", StatusCode.ALREADY_EXISTS):
                self.client.execute("other", session.id, execution_id=execution_id)

    # --- the walk ------------------------------------------------------------------------------
    def walk(self, steps, kills):
        names, weights = list(self.steps), list(self.steps.values())
        kill_at = set(self.rng.sample(range(steps), kills))
        for number in range(steps):
            step = self.rng.choices(names, weights)[0]
            if number in kill_at:
                self.history.append("kill the zygote")
                os.kill(self.daemon.zygote, signal.SIGKILL)
            self.history.append(f"{number}: {step.__name__}")
            del self.history[:-200]
            try:
                step()
            except BaseException as e:
                e.add_note("\n".join([f"step {number} of {steps}, after:", *self.history]))
                raise
        self.compare_list()
        for session in list(self.sessions):
            self.client.delete(session.id)


def test_the_service_agrees_with_the_model(own_daemon, rng, exhaustive):
    """Random operations, with crashes, client deaths and zygote kills, find no difference."""
    daemon = own_daemon()
    client = own_daemon.connect(daemon)
    steps = EXHAUSTIVE_STEPS if exhaustive else STEPS
    Model(client, daemon, random.Random(rng.random())).walk(steps, kills=max(3, steps // 2000))
