"""Starts pyexecd, finds its processes, ends it, and proves that nothing is left of it."""

import os
import signal
import subprocess
import sys
import tempfile
import threading

from support import processes
from support.stubs import ROOT, TESTS
from support.waiting import GENEROUS, until


def binary(name):
    folder = os.environ.get("PYEXEC_BIN_DIR") or os.path.join(ROOT, "bazel-bin")
    path = os.path.join(folder, name)
    if not os.access(path, os.X_OK):
        raise AssertionError(f"{path} is not there: build first, or set PYEXEC_BIN_DIR")
    return path


class Daemon:
    """One pyexecd in a private folder, below a cage (cage.py)."""

    def __init__(self, *flags, listen=(), nofile=0, environment=None, ready=True, folder=None,
                 state=None, spares=2):
        self.folder = folder or tempfile.mkdtemp(prefix="pyexec-t-")
        self.owns_folder = folder is None
        self.socket = os.path.join(self.folder, "s")
        self.state = state or os.path.join(self.folder, "state")
        self.listen = list(listen) or [f"unix:{self.socket}", "127.0.0.1:0"]
        self.log_path = os.path.join(self.folder, "log")
        self.exit_status = None
        self.pid = None
        self.empty = False
        self.ready_line = None
        self._stdout = []
        self._changed = threading.Condition()
        command = [binary("pyexecd")]
        for address in self.listen:
            command += ["--listen", address]
        command += ["--state-dir", self.state, "--spares", str(spares), *flags]
        self._start(command, nofile, environment)
        if ready:
            self.wait_ready()

    def _start(self, command, nofile, environment):
        report_read, report_write = os.pipe()
        cage = os.path.join(TESTS, "support", "cage.py")
        with open(self.log_path, "ab") as log:
            self.cage = subprocess.Popen(
                [sys.executable, "-I", "-S", cage, str(report_write), str(nofile), *command],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                pass_fds=[report_write],
                env=None if environment is None else {**os.environ, **environment},
            )
        os.close(report_write)
        self._readers = [
            threading.Thread(target=self._read_report, args=(report_read,), daemon=True),
            threading.Thread(target=self._read_stdout, daemon=True),
        ]
        for reader in self._readers:
            reader.start()

    def _read_report(self, fd):
        with os.fdopen(fd, encoding="ascii") as report:
            for line in report:
                word, _, value = line.strip().partition(" ")
                with self._changed:
                    if word == "pid":
                        self.pid = int(value)
                    elif word == "exit":
                        self.exit_status = os.waitstatus_to_exitcode(int(value))
                    elif word == "empty":
                        self.empty = True
                    self._changed.notify_all()

    def _read_stdout(self):
        for line in self.cage.stdout:
            with self._changed:
                self._stdout.append(line.decode("utf-8", "replace"))
                if self.ready_line is None:
                    self.ready_line = self._stdout[-1].rstrip("\n")
                self._changed.notify_all()

    def _wait(self, condition, what, seconds=GENEROUS):
        with self._changed:
            if not self._changed.wait_for(condition, seconds):
                raise AssertionError(f"{what}: not within {seconds:g} s\n{self.tree_text()}\n"
                                     f"{self.log_tail()}")

    # --- facts ---------------------------------------------------------------------------------
    @property
    def address(self):
        return f"unix:{self.socket}"

    @property
    def addresses(self):
        """The real addresses, from the ready line."""
        return self.ready_line.partition(" ready: ")[2].split()

    @property
    def stdout_lines(self):
        return list(self._stdout)

    @property
    def tcp_address(self):
        return next(a for a in self.addresses if not a.startswith("unix"))

    def log_text(self):
        try:
            with open(self.log_path, encoding="utf-8", errors="replace") as log:
                return log.read()
        except FileNotFoundError:
            return ""  # the folder went with close()

    def log_tail(self, lines=40):
        text = self.log_text().splitlines()
        return "\n".join(["--- log of pyexecd ---", *text[-lines:]])

    def tree(self):
        """Every process of the daemon, itself included."""
        return processes.below(self.cage.pid)

    def tree_text(self):
        return "\n".join(["--- processes ---", *map(repr, self.tree())])

    def _children(self, pid):
        return [p for p in self.tree() if p.parent == pid]

    @property
    def launcher(self):
        children = self._children(self.pid)
        assert len(children) == 1, children
        return children[0].pid

    @property
    def zygote(self):
        """The pid of the zygote, waiting for one that is starting. The launcher's other children
        are sessions whose zygote died; they have a name of their own."""
        def living():
            return [p.pid for p in self._children(self.launcher)
                    if p.state not in "ZX" and p.name == "pyexec-zygote"]
        return until(living, "a zygote")[0]

    def session_processes(self):
        """Children of the zygote: sessions and spares."""
        return self._children(self.zygote)

    # --- ending --------------------------------------------------------------------------------
    def wait_ready(self, seconds=GENEROUS):
        self._wait(lambda: self.ready_line is not None or self.exit_status is not None,
                   "pyexecd is ready", seconds)
        assert self.ready_line is not None, f"pyexecd ended: {self.exit_status}\n{self.log_tail()}"

    def signal(self, number):
        assert self.exit_status is None, f"pyexecd has ended: {self.exit_status}"
        os.kill(self.pid, number)

    def wait_exit(self, seconds=GENEROUS):
        self._wait(lambda: self.exit_status is not None, "pyexecd ends", seconds)
        return self.exit_status

    def wait_empty(self, seconds=GENEROUS):
        """Until no process of the tree is left, wherever it went."""
        self._wait(lambda: self.empty, "every process of the daemon is gone", seconds)

    def assert_nothing_left(self):
        self.wait_empty()
        assert not os.path.exists(self.socket), "the socket is left"
        left = []
        for folder, _, names in os.walk(self.state):
            left += [os.path.join(folder, n) for n in names]
        left += [os.path.join(self.state, "work", n) for n in self._work()]
        left = [f for f in left if f != os.path.join(self.state, "lock")]
        assert left == [], "files are left in the state directory"

    def _work(self):
        try:
            return os.listdir(os.path.join(self.state, "work"))
        except FileNotFoundError:
            return []

    def stop(self):
        """SIGTERM, exit status 0, and nothing left: no process, no file, no socket."""
        self.signal(signal.SIGTERM)
        status = self.wait_exit()
        assert status == 0, f"exit status {status} after SIGTERM\n{self.log_tail()}"
        self.assert_nothing_left()

    def close(self):
        """Ends whatever is left, for the end of a test. Never fails."""
        self.cage.stdin.close()
        self.cage.wait()
        for reader in self._readers:
            reader.join()
        self.cage.stdout.close()
        if self.owns_folder:
            # Not shutil: what a failed test left may be deeper than Python's stack.
            subprocess.run(["rm", "-rf", self.folder], check=False)
