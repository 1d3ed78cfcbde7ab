"""The pyexec command, through its binary."""

import json
import os
import pty
import select
import signal
import subprocess
import tempfile

import pytest
from support import processes
from support.client import SPIN_AND_CATCH
from support.daemon import binary
from support.waiting import until

WATCHDOG = 110


@pytest.fixture
def pyexec(daemon):
    def run(*arguments, code=None, check=None, address=daemon.address, environment=None):
        command = [binary("pyexec"), *arguments]
        env = {**os.environ, **(environment or {})}
        if address:
            env["PYEXEC_ADDRESS"] = address
        else:
            env.pop("PYEXEC_ADDRESS", None)
        done = subprocess.run(command, input=code, capture_output=True, timeout=WATCHDOG, env=env,
                              check=False)
        if check is not None:
            assert done.returncode == check, (done.returncode, done.stdout, done.stderr)
        return done
    return run


@pytest.mark.parametrize("code, status", [
    ("print('x')", 0), ("1/0", 1), ("import sys; sys.exit(0)", 0), ("import sys; sys.exit(42)", 42),
    ("import os; os._exit(9)", 9), ("import os; os.kill(os.getpid(), 9)", 128 + 9),
    ("import ctypes; ctypes.string_at(0)", 128 + 11), ("syntax error here", 1)])
def test_exit_codes(pyexec, code, status):
    pyexec("run", "-", code=code.encode(), check=status)


def test_time_limit_exits_124(pyexec):
    done = pyexec("run", "--timeout", "0.3", "-", code=b"print('a')\nwhile True: pass", check=124)
    assert done.stdout == b"a\n"
    assert b"0.3" in done.stderr or b"time" in done.stderr.lower()


def test_streams_go_where_they_belong(pyexec, tmp_path):
    path = tmp_path / "script.py"
    path.write_bytes(b"import sys\nprint('out')\nprint('err', file=sys.stderr)\n"
                     b"sys.stdout.buffer.write(bytes(range(256)))\n")
    done = pyexec("run", str(path), check=0)
    assert done.stdout == b"out\n" + bytes(range(256))
    assert done.stderr == b"err\n"


def test_traceback_goes_to_stderr(pyexec, tmp_path):
    path = tmp_path / "script.py"
    path.write_text("print('a')\nraise ValueError('mine')")
    done = pyexec("run", str(path), check=1)
    assert done.stdout == b"a\n"
    text = done.stderr.decode()
    assert text.startswith("Traceback (most recent call last):\n")
    assert "script.py" in text and text.endswith("ValueError: mine\n")


def test_output_arrives_while_the_program_runs(daemon, tmp_path):
    """By causality: the program ends after we made the file that we make after its first line."""
    tmp_path.chmod(0o777)
    flag = tmp_path / "flag"
    code = f"import os\nprint('first')\nwhile not os.path.exists({str(flag)!r}): pass\nprint('last')"
    with subprocess.Popen([binary("pyexec"), "--address", daemon.address, "run", "-"],
                          stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdin.write(code.encode())
        process.stdin.close()
        assert process.stdout.readline() == b"first\n"
        flag.touch()
        assert process.stdout.read() == b"last\n"
        assert process.wait() == 0


def interruptible(daemon, code, *arguments):
    process = subprocess.Popen([binary("pyexec"), "--address", daemon.address, "run", *arguments,
                                "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    process.stdin.write(code.encode())
    process.stdin.close()
    process.stdin = None  # communicate() would flush it
    assert process.stdout.readline() == b"on\n"
    return process


def test_ctrl_c_interrupts_the_code(daemon):
    process = interruptible(daemon, SPIN_AND_CATCH + "raise KeyboardInterrupt")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=WATCHDOG)
    assert process.returncode == 130
    assert out == b"caught\n" and b"KeyboardInterrupt" in err


def test_ctrl_c_twice_kills_the_code(daemon):
    process = interruptible(daemon, SPIN_AND_CATCH + "while True: pass")
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == b"caught\n"
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=WATCHDOG)
    assert process.returncode in (130, 128 + 9)


def test_a_killed_client_does_not_leave_its_code_running(daemon):
    process = interruptible(daemon, "import os\nprint('on')\nprint(os.getpid())\nwhile True: pass")
    pid = int(process.stdout.readline())
    process.kill()
    process.communicate()
    until(lambda: not processes.exists(pid), "the code ended")


def test_a_closed_pipe_ends_the_command(daemon):
    code = "print('on')\nwhile True: print('x' * 1000)"
    process = interruptible(daemon, code)
    process.stdout.close()
    process.stderr.read()
    assert process.wait(timeout=WATCHDOG) != 0
    process.stderr.close()


def test_sessions_by_command(pyexec):
    session = pyexec("session", "create", check=0).stdout.decode().split()[0]
    pyexec("run", "--session", session, "-", code=b"x = 5", check=0)
    done = pyexec("run", "--session", session, "-", code=b"print(x)", check=0)
    assert done.stdout == b"5\n"
    assert session in pyexec("session", "list", check=0).stdout.decode()
    assert session in pyexec("session", "show", session, check=0).stdout.decode()
    pyexec("session", "restart", session, check=0)
    pyexec("run", "--session", session, "-", code=b"print(x)", check=1)
    pyexec("session", "delete", session, check=0)
    done = pyexec("run", "--session", session, "-", code=b"1", check=125)
    assert b"SESSION_NOT_FOUND" in done.stderr


def test_detach_and_attach(pyexec):
    """Started without waiting; followed later, with the same output and exit code."""
    session = pyexec("session", "create", check=0).stdout.decode().split()[0]
    started = pyexec("run", "--session", session, "--detach", "-c",
                     "import sys; print('out'); sys.exit(7)", check=0)
    assert pyexec("attach", *started.stdout.decode().split(), check=7).stdout == b"out\n"
    assert pyexec("attach", *started.stdout.decode().split(), check=7).stdout == b"out\n"
    pyexec("attach", session, "no-such-execution", check=125)
    pyexec("session", "delete", session, check=0)


def test_interrupt_command(pyexec, daemon):
    session = pyexec("session", "create", check=0).stdout.decode().split()[0]
    process = subprocess.Popen([binary("pyexec"), "--address", daemon.address, "run", "--session",
                                session, "-c", "print('on')\nwhile True: pass"],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout.readline() == b"on\n"
    pyexec("interrupt", session, check=0)
    process.communicate(timeout=WATCHDOG)
    assert process.returncode == 130
    pyexec("session", "delete", session, check=0)


def test_options_of_run(pyexec):
    code = "import os, sys; print(os.environ['A'], sys.stdin.read()); 1/0"
    done = pyexec("run", "-c", code, "--env", "A=b c", "--stdin", "--filename", "named.py",
                  code=b"input", check=1)
    assert done.stdout == b"b c input\n"
    assert b'File "named.py", line 1' in done.stderr
    assert pyexec("run", "--value", "-c", "6 * 7", check=0).stdout == b"42\n"
    assert pyexec("run", "-c", "6 * 7", check=0).stdout == b""


def test_many_lines_through_the_command(pyexec):
    done = pyexec("run", "-c", "for i in range(200000): print(i)", check=0)
    assert done.stdout == b"".join(b"%d\n" % i for i in range(200000))


def test_info_and_ping(pyexec, client):
    assert client.info().node_id in pyexec("info", check=0).stdout.decode()
    pyexec("ping", check=0)


def test_json_lines(pyexec):
    done = pyexec("run", "--json", "-", code=b"print('a')\nimport os\nos.write(1, b'\\xff')\n1/0")
    lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
    assert done.returncode == 1
    assert len(lines) >= 3
    text = json.dumps(lines)
    assert "STATUS_ERROR" in text or '"ERROR"' in text
    assert "ZeroDivisionError" in text


def test_nobody_at_an_explicit_address(pyexec):
    done = pyexec("run", "-", code=b"1", address="unix:/nowhere/at/all.sock", check=125)
    assert b"/nowhere/at/all.sock" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["nonsense"], ["run"], ["run", "--no-such", "-"],
                                       ["run", "--timeout", "soon", "-"], ["session"],
                                       ["session", "nonsense"], ["session", "show"]])
def test_wrong_usage_exits_2(pyexec, arguments):
    done = pyexec(*arguments, code=b"", check=2)
    assert done.stderr and not done.stdout


def test_a_missing_file_is_named(pyexec):
    done = pyexec("run", "/no/such/file.py")
    assert done.returncode in (2, 125)
    assert b"/no/such/file.py" in done.stderr


def test_help(pyexec):
    text = pyexec("--help", check=0).stdout.decode()
    for command in ("run", "session", "info", "ping", "shell"):
        assert command in text


@pytest.fixture
def lonely():
    """A folder, and an environment in which no daemon answers at the default socket."""
    if os.geteuid() == 0 and os.path.exists("/run/pyexec/pyexecd.sock"):
        pytest.fail("a daemon of this machine has the default socket: stop it for this test")
    # Not tmp_path: its name is too long for a socket.
    with tempfile.TemporaryDirectory(prefix="pyexec-c-") as folder:
        yield folder, {"XDG_RUNTIME_DIR": folder, "XDG_STATE_HOME": folder, "HOME": folder,
                       "TMPDIR": folder}


def test_without_a_daemon_a_private_one_serves_the_call(pyexec, lonely):
    folder, env = lonely
    done = pyexec("run", "-", code=b"import os\nprint(os.getpid())", address=None, environment=env,
                  check=0)
    pid = int(done.stdout)
    until(lambda: not processes.exists(pid), "its session is gone")
    left = [p for p in processes.snapshot().values()
            if folder in processes.command_line(p.pid)]
    assert left == []
    found = [os.path.join(f, n) for f, _, names in os.walk(folder) for n in names]
    assert found == [], "the private daemon left files"


def test_the_private_daemon_ends_with_an_interrupted_command(lonely):
    env = {**os.environ, **lonely[1]}
    env.pop("PYEXEC_ADDRESS", None)
    process = subprocess.Popen([binary("pyexec"), "run", "-"], stdin=subprocess.PIPE, env=env,
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    process.stdin.write(b"import os\nprint(os.getpid())\nwhile True: pass")
    process.stdin.close()
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGTERM)
    process.stdout.read()
    process.wait(timeout=WATCHDOG)
    process.stdout.close()
    until(lambda: not processes.exists(pid), "its session is gone")


class Terminal:
    """A program on a pseudo-terminal."""

    def __init__(self, command, environment):
        self.pid, self.fd = pty.fork()
        if self.pid == 0:
            os.execvpe(command[0], command, {**os.environ, **environment})
        self.seen = b""
        self.place = 0

    def type(self, text):
        os.write(self.fd, text.encode())

    def expect(self, wanted):
        """Reads until `wanted` comes, after what was expected before."""
        wanted = wanted.encode()
        while self.seen.find(wanted, self.place) < 0:
            ready, _, _ = select.select([self.fd], [], [], WATCHDOG)
            assert ready, f"no {wanted!r} in {self.seen[self.place:]!r}"
            try:
                data = os.read(self.fd, 65536)
            except OSError:
                data = b""
            assert data, f"the end came before {wanted!r}: {self.seen!r}"
            self.seen += data
        self.place = self.seen.find(wanted, self.place) + len(wanted)

    def end(self):
        while True:
            try:
                if not os.read(self.fd, 65536):
                    break
            except OSError:
                break
        os.close(self.fd)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def shell(daemon, tmp_path):
    terminal = Terminal([binary("pyexec"), "--address", daemon.address, "shell"],
                        {"HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "TERM": "xterm"})
    terminal.expect(">>> ")
    return terminal


def test_shell_values_output_and_variables(shell):
    shell.type("x = 6 * 7\n")
    shell.expect(">>> ")
    shell.type("x\n")
    shell.expect("42")
    shell.expect(">>> ")
    shell.type("print('he' + 'llo')\n")
    shell.expect("hello")
    shell.expect(">>> ")
    shell.type("\x04")
    assert shell.end() == 0


def test_shell_multi_line_input_and_errors(shell):
    shell.type("def f(n):\n")
    shell.expect("... ")
    shell.type("    return n + 1\n")
    shell.expect("... ")
    shell.type("\n")
    shell.expect(">>> ")
    shell.type("f(1000)\n")
    shell.expect("1001")
    shell.expect(">>> ")
    shell.type("1/0\n")
    shell.expect("ZeroDivisionError: division by zero")
    shell.expect(">>> ")
    shell.type("\x04")
    assert shell.end() == 0


def test_shell_ctrl_c_interrupts_and_the_session_goes_on(shell):
    shell.type("import time; k = 5\n")
    shell.expect(">>> ")
    shell.type("print('o' + 'n'); time.sleep(1000)\n")
    shell.expect("on\r\n")
    shell.type("\x03")
    shell.expect("KeyboardInterrupt")
    shell.expect(">>> ")
    shell.type("print('k is', k)\n")
    shell.expect("k is 5")
    shell.expect(">>> ")
    shell.type("\x04")
    assert shell.end() == 0


def test_shell_reads_a_script_from_a_pipe(pyexec):
    done = pyexec("shell", code=b"x = 2\nfor i in range(2):\n    print(i)\n\nprint(x + 40)\n", check=0)
    assert done.stdout.decode().split() == ["0", "1", "42"]
