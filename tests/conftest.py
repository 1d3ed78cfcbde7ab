"""Fixtures, the order of tests, and the stubs (see tests/README.md)."""

import os
import random
import shutil
import sys

import pytest

TESTS = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, TESTS)
sys.dont_write_bytecode = True

from support import stubs  # noqa: E402

STUBS_MADE_HERE = stubs.install()
SEED_VARIABLE = "PYEXEC_TEST_SEED"
SEED = int(os.environ.setdefault(SEED_VARIABLE, str(random.SystemRandom().randrange(10**9))))

from support.client import Client  # noqa: E402
from support.daemon import Daemon  # noqa: E402


def pytest_addoption(parser):
    parser.addoption("--exhaustive", action="store_true",
                     help="the heavier forms: more programs, more repetitions (tests/README.md)")


def pytest_report_header():
    return f"order and programs from {SEED_VARIABLE}={SEED}"


def pytest_collection_modifyitems(items):
    """Another order each time: no test may lean on one before it."""
    items.sort(key=lambda item: item.nodeid)
    random.Random(SEED).shuffle(items)


def pytest_unconfigure():
    if STUBS_MADE_HERE:
        shutil.rmtree(STUBS_MADE_HERE, ignore_errors=True)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the end of the log of each daemon that it used."""
    report = (yield).get_result()
    if report.failed:
        daemons = [item.funcargs.get("daemon"), *getattr(item, "own_daemons", [])]
        for one in filter(None, daemons):
            report.sections.append(("pyexecd", f"{one.log_tail()}\n{one.tree_text()}"))


@pytest.fixture(scope="session")
def exhaustive(request):
    return request.config.getoption("--exhaustive")


@pytest.fixture(scope="session")
def daemon():
    """The worker's daemon: shared by all tests that do not harm it. At the end it must go without
    leaving anything."""
    one = Daemon()
    try:
        yield one
        one.stop()
    finally:
        one.close()


@pytest.fixture(scope="session")
def client(daemon):
    with Client(daemon.address) as one:
        yield one


@pytest.fixture
def session(client):
    with client.session() as session_id:
        yield session_id


@pytest.fixture
def own_daemon(request):
    """Makes daemons of the test's own. Those still running at its end are stopped and must leave
    nothing, like the shared one."""
    request.node.own_daemons = made = []
    clients = []

    def make(*flags, **options):
        made.append(Daemon(*flags, **options))
        return made[-1]

    def connect(daemon, address=None):
        clients.append(Client(address or daemon.address))
        return clients[-1]

    make.connect = connect
    try:
        yield make
        for one in clients:
            one.close()
        for one in made:
            if one.exit_status is None:
                one.stop()
    finally:
        for one in made:
            one.close()


@pytest.fixture
def rng(request):
    """Random numbers of this test alone: the same for the same seed, whatever ran before."""
    return random.Random(f"{SEED} {request.node.nodeid}")
