"""Where the daemon listens, and what it refuses."""

import os
import re
import socket
import stat
import subprocess

import pytest
from support.client import Client
from support.daemon import binary


def test_the_ready_line_names_version_and_real_addresses(own_daemon):
    daemon = own_daemon()
    version = subprocess.run([binary("pyexecd"), "--version"], capture_output=True, text=True,
                             check=True).stdout.split()[1]
    pattern = rf"pyexecd {re.escape(version)} ready: unix:{re.escape(daemon.socket)} 127\.0\.0\.1:\d+"
    assert re.fullmatch(pattern, daemon.ready_line), daemon.ready_line
    assert len(daemon.stdout_lines) == 1
    assert not daemon.tcp_address.endswith(":0")


def test_every_address_serves(own_daemon):
    name = f"pyexec-test-{os.getpid()}-{os.urandom(4).hex()}"
    folder_socket = own_daemon().folder + "/other"
    daemon = own_daemon(listen=[f"unix:{folder_socket}", f"unix-abstract:{name}", "127.0.0.1:0",
                                "[::1]:0"] if has_ipv6() else
                        [f"unix:{folder_socket}", f"unix-abstract:{name}", "127.0.0.1:0"])
    assert len(daemon.addresses) == len(daemon.listen)
    for address in daemon.addresses:
        target = address if address.startswith("unix") else \
            f"ipv6:{address}" if address.startswith("[") else f"ipv4:{address}"
        with Client(target) as client:
            client.execute("print('here')").ok("here\n")


def has_ipv6():
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
        return True
    except OSError:
        return False


def test_the_socket_is_for_its_owner_alone(own_daemon):
    mode = os.stat(own_daemon().socket).st_mode
    assert stat.S_ISSOCK(mode) and stat.S_IMODE(mode) == 0o600


def test_a_live_daemons_socket_is_never_taken(own_daemon):
    first = own_daemon()
    second = own_daemon(listen=[f"unix:{first.socket}"], ready=False)
    assert second.wait_exit() not in (0, None)
    assert first.socket in second.log_text()
    own_daemon.connect(first).execute("print('mine')").ok("mine\n")


def test_a_stale_socket_is_replaced(own_daemon, tmp_path):
    path = own_daemon().folder + "/stale"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    daemon = own_daemon(listen=[f"unix:{path}"])
    own_daemon.connect(daemon, f"unix:{path}").execute("print('new')").ok("new\n")


def test_a_file_that_is_no_socket_is_left_alone(own_daemon, tmp_path):
    path = tmp_path / "precious"
    path.write_text("data")
    daemon = own_daemon(listen=[f"unix:{path}"], ready=False)
    assert daemon.wait_exit() not in (0, None)
    assert path.read_text() == "data"


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:80", "example.com:80", "10.0.0.1:5",
                                     "127.0.0.1:99999", "127.0.0.1", "nonsense", "unix:relative",
                                     "unix:", "unix-abstract:", "127.0.0.1:-1", "tcp:127.0.0.1:0"])
def test_addresses_that_are_refused(own_daemon, address):
    daemon = own_daemon(listen=[address], ready=False)
    assert daemon.wait_exit() not in (0, None)
    assert daemon.ready_line is None
    text = daemon.log_text()
    assert address in text or address.partition(":")[2] in text
    assert len(text.splitlines()) <= 3, "one clear sentence"


def test_a_path_that_is_too_long_for_a_socket(own_daemon):
    daemon = own_daemon(listen=["unix:/tmp/" + "x" * 200], ready=False)
    assert daemon.wait_exit() not in (0, None)


def test_a_port_in_use_is_an_error(own_daemon):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = "127.0.0.1:%d" % taken.getsockname()[1]
        daemon = own_daemon(listen=[address], ready=False)
        assert daemon.wait_exit() not in (0, None)
        assert address in daemon.log_text()


def test_the_default_is_a_socket_in_the_runtime_directory(tmp_path):
    """What the help says; the address itself may belong to a daemon of this machine."""
    text = subprocess.run([binary("pyexecd"), "--help"], capture_output=True, text=True,
                          check=True).stdout
    assert "--listen" in text and "0600" in text


@pytest.mark.parametrize("flags", [["--no-such-option"], ["--max-sessions", "many"],
                                   ["--timeout", "5 parsecs"], ["--profile", "lax"],
                                   ["--timeout", "2h", "--max-timeout", "1h"],
                                   ["--node-id", "-bad-"], ["extra"], ["--log-level", "loud"]])
def test_wrong_options_end_with_status_2_and_a_sentence(own_daemon, flags):
    daemon = own_daemon(*flags, ready=False)
    assert daemon.wait_exit() == 2
    text = daemon.log_text()
    assert text.startswith("pyexecd: ") and len(text.splitlines()) == 1


def test_two_daemons_never_share_a_state_directory(own_daemon):
    first = own_daemon()
    second = own_daemon(state=first.state, ready=False)
    assert second.wait_exit() == 1
    assert "in use by another pyexecd" in second.log_text()


def test_a_python_that_does_not_exist_ends_the_start(own_daemon):
    daemon = own_daemon("--python", "/nowhere/python3", ready=False)
    assert daemon.wait_exit() == 1
    assert "/nowhere/python3" in daemon.log_text()
    daemon.wait_empty()


def test_a_virtual_environment_is_honoured(own_daemon, tmp_path):
    venv = tmp_path / "venv"
    site = venv / "lib" / "python3.11" / "site-packages"
    site.mkdir(parents=True)
    (venv / "bin").mkdir()
    (venv / "bin" / "python3").symlink_to("/usr/bin/python3")
    (venv / "pyvenv.cfg").write_text("home = /usr/bin\ninclude-system-site-packages = false\n")
    (site / "only_here.py").write_text("value = 11")
    for folder in (tmp_path, *tmp_path.parents):
        if os.stat(folder).st_uid == os.getuid() and str(folder).startswith("/tmp/"):
            folder.chmod(0o755)
    client = own_daemon.connect(own_daemon("--python", str(venv / "bin" / "python3")))
    client.execute("import only_here, sys\nprint(only_here.value, sys.prefix)").ok(f"11 {venv}\n")


def test_preloaded_modules_are_there_and_failures_are_not_fatal(own_daemon):
    daemon = own_daemon("--preload", "json,no_such_module_here", "--preload", "decimal")
    client = own_daemon.connect(daemon)
    client.execute("import sys\nprint('json' in sys.modules, 'decimal' in sys.modules)").ok(
        "True True\n")
    assert "no_such_module_here" in daemon.log_text()
    modules = client.info().templates[0].preloaded_modules
    assert {"json", "decimal"} <= set(modules)


def test_options_can_come_from_a_file(own_daemon, tmp_path):
    path = tmp_path / "conf"
    path.write_text("# comment\nnode-id = from-file\nmax-sessions = 5\n")
    client = own_daemon.connect(own_daemon("--config", str(path), "--max-sessions", "6"))
    info = client.info()
    assert (info.node_id, info.capacity.max_sessions) == ("from-file", 6)


def test_many_connections_in_turn(own_daemon):
    daemon = own_daemon()
    for _ in range(100):
        with Client(daemon.address) as client:
            client.ping()
