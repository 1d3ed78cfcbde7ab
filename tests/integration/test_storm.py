"""Many clients do random things to the same sessions at once.

Nothing can be predicted of a single call but this: it ends, with a result or with a reason of the
error table that fits; whatever a stream gives keeps the rules (support/client.py). Afterwards the
service works, and nothing is left."""

import concurrent.futures
import os
import random
import signal

import grpc
import pytest
from support.api import ex
from support.client import Client, new_id
from support.faults import Fault
from support.waiting import until

THREADS = 12
OPERATIONS = 60  # of each thread; ten times as many with --exhaustive
# What may come of a call while others delete, restart, kill and crash its session.
EXPECTED = {"SESSION_NOT_FOUND", "SESSION_DEAD", "SESSION_BUSY", "SESSION_QUEUE_FULL",
            "EXECUTION_NOT_FOUND", "STDIN_CLOSED", "STDIN_OFFSET", "FORK_FAILED",
            "NODE_AT_CAPACITY", "FORK_UNSAFE"}
CODES = ["x = 1", "print('y' * 100000)", "1/0", "import os\nos._exit(3)", "import sys\nsys.exit(4)",
         "while True: pass", "import time\ntime.sleep(0.02)", "import os\nos.kill(os.getpid(), 11)",
         "input()", "import subprocess\nsubprocess.Popen(['sleep', '1000'])", "display(1)\n5",
         "import os\nos.fork() or os._exit(0)", "print('on')\nimport sys\nsys.stdin.read()",
         "import threading\nthreading.Thread(target=print, args=('t',)).start()",
         "try:\n    exec('while True: pass')\nexcept BaseException: pass\nwhile True: pass"]
SPECS = [{}, {"busy_policy": ex.ExecutionSpec.BUSY_POLICY_QUEUE},
         {"stdin_mode": ex.ExecutionSpec.STDIN_MODE_STREAM}, {"reattach_grace": 0.1},
         {"max_output_bytes": 5000}, {"silent": True}]


class Caller:
    """One thread's client."""

    def __init__(self, address, sessions, seed):
        self.client = Client(address)
        self.sessions = sessions
        self.rng = random.Random(seed)
        self.seen = []

    def session(self):
        return self.rng.choice(self.sessions)

    def execute(self):
        spec = {"timeout": self.rng.choice((0.05, 0.2, 0.5)), **self.rng.choice(SPECS)}
        session = self.rng.choice((self.session(), self.session(), ""))
        stream = self.client.stream(self.rng.choice(CODES), session, new_id(), **spec)
        leave = self.rng.random()
        if leave < 0.15:
            stream.cancel()
            return
        if leave < 0.3:
            stream.until(lambda o: o.started)
            stream.cancel()
            return
        got = stream.finish()
        self.seen.append((got.session_id, got.execution_id))
        assert got.status != "SERVER_ERROR" or "FORK" in str(got.result.warnings), got.result

    def attach(self):
        if self.seen:
            outcome = self.client.attach(*self.rng.choice(self.seen))
            assert outcome.result is not None

    def start(self):
        made = self.client.start(self.rng.choice(CODES), self.session(), timeout=0.2,
                                 busy_policy=ex.ExecutionSpec.BUSY_POLICY_QUEUE)
        done = self.client.finished(made.session_id, made.execution_id)
        assert done.result.status != 0

    def interrupt(self):
        self.client.interrupt(self.session(), kill=self.rng.random() < 0.2)

    def write(self):
        session = self.session()
        current = self.client.get_session(session).current_execution_id
        if current:
            self.client.write_stdin(session, current, b"line\n", eof=self.rng.random() < 0.5)

    def restart(self):
        self.client.restart(self.session())

    def replace(self):
        """Deletes a session that others use; a new one takes its place."""
        place = self.rng.randrange(len(self.sessions))
        self.client.delete(self.sessions[place])
        self.sessions[place] = self.client.create().session_id

    def look(self):
        self.client.list_sessions()
        self.client.info()
        self.client.get_session(self.session())

    def run(self, operations):
        ways = {self.execute: 30, self.attach: 6, self.start: 8, self.interrupt: 10, self.write: 8,
                self.restart: 6, self.replace: 4, self.look: 6}
        for _ in range(operations):
            try:
                self.rng.choices(list(ways), ways.values())[0]()
            except grpc.RpcError as error:
                fault = Fault(error)
                if error.code() != grpc.StatusCode.CANCELLED:
                    assert fault.reason in EXPECTED, f"{fault.code} {fault.reason}: {fault.text}"
        self.client.close()


@pytest.mark.parametrize("kills", [False, True], ids=["calm", "zygote killed"])
def test_storm(own_daemon, rng, kills, exhaustive):
    daemon = own_daemon("--interrupt-grace", "50ms", "--max-running", "8")
    client = own_daemon.connect(daemon)
    sessions = [client.create().session_id for _ in range(6)]
    seed = rng.random()
    operations = OPERATIONS * (10 if exhaustive else 1)
    with concurrent.futures.ThreadPoolExecutor(THREADS) as pool:
        calls = [pool.submit(Caller(daemon.address, sessions, f"{seed} {i}").run, operations)
                 for i in range(THREADS)]
        if kills:
            os.kill(daemon.zygote, signal.SIGKILL)
        for call in calls:
            call.result()
    while left := client.list_sessions().sessions:
        for session in left:
            client.delete(session.session_id)
    until(lambda: not os.listdir(os.path.join(daemon.state, "work")), "all directories are gone")

    def idle():
        capacity = client.info().capacity
        return (capacity.running_executions, capacity.queued_executions) == (0, 0)
    until(idle, lambda: f"nothing runs any more: {client.info().capacity}")
    until(lambda: len(daemon.session_processes()) == 2,
          lambda: f"the two spares are left\n{daemon.tree_text()}")
    client.execute("print('fine')").ok("fine\n")
