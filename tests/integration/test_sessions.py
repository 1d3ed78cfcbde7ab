"""Sessions: made, found, listed, restarted, ended; what they keep and what they don't share."""

import concurrent.futures
import os

import grpc
import pytest
from support.api import ex, seconds, ss, ty
from support.client import RPC_TIMEOUT, new_id
from support.faults import refused
from support.processes import exists
from support.waiting import until


def test_a_session_keeps_variables_imports_and_functions(client, session):
    client.execute("import math\nx = [1]\ndef f(): return len(x)", session).ok()
    client.execute("x.append(2)\nprint(f(), math.floor(2.5))", session).ok("2 2\n")


def test_sessions_share_nothing(client):
    with client.session() as one, client.session() as other:
        client.execute("x = 1\nimport os\nos.environ['A'] = 'b'", one).ok()
        client.execute("import os\nprint('x' in globals(), os.environ.get('A'))", other).ok(
            "False None\n")
        where = [client.get_session(s).working_directory for s in (one, other)]
        assert where[0] != where[1]


def test_random_numbers_differ_between_sessions(client):
    """Forks of one warm interpreter are seeded afresh."""
    code = "import random, os, uuid, secrets\n" \
           "print(random.random(), os.urandom(8), uuid.uuid4(), secrets.token_hex(8))"
    seen = [client.execute(code).ok().text for _ in range(8)]
    parts = list(zip(*(line.split() for line in seen)))
    assert all(len(set(p)) == 8 for p in parts), seen


def test_numpys_generator_differs_between_sessions(own_daemon):
    """Where the template has imported it, it is seeded afresh, too."""
    client = own_daemon.connect(own_daemon("--preload", "numpy"))
    code = "import sys\nassert 'numpy' in sys.modules\nimport numpy\n" \
           "print(numpy.random.rand(), numpy.random.default_rng().random())"
    seen = [client.execute(code).ok().text for _ in range(8)]
    parts = list(zip(*(line.split() for line in seen)))
    assert all(len(set(p)) == 8 for p in parts), seen


def test_facts_of_a_session(client):
    made = client.create(labels={"team": "a"}, idle_timeout=90)
    session = made.session_id
    assert made.state == ty.SESSION_STATE_IDLE
    node, _, unique = session.rpartition("-")
    assert node == client.info().node_id and len(unique) == 26
    assert dict(made.labels) == {"team": "a"}
    assert seconds(made.idle_timeout) == 90
    assert made.generation == client.get_session(session).generation
    assert os.path.isabs(made.working_directory)
    client.execute("1", session).ok()
    client.execute("1", session, silent=True).ok()
    again = client.get_session(session)
    assert again.execution_count == 1, "silent executions do not count"
    assert again.current_execution_id == ""
    assert again.expire_time.ToNanoseconds() > again.last_used_time.ToNanoseconds()
    assert again.usage.max_rss_bytes > 0
    client.delete(session)
    with refused("SESSION_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        client.get_session(session)


def test_state_and_current_execution_while_busy(client, session):
    stream = client.stream("print('on')\nwhile True: pass", session)
    stream.until_output(b"on\n")
    busy = client.get_session(session)
    assert busy.state == ty.SESSION_STATE_BUSY
    assert busy.current_execution_id == stream.outcome.execution_id
    client.interrupt(session)
    stream.finish()
    until(lambda: client.get_session(session).state == ty.SESSION_STATE_IDLE, "idle again")


def test_execution_count_rises_and_is_in_the_results(client, session):
    for number in (1, 2, 3):
        got = client.execute("1", session).ok()
        assert got.started.execution_count == got.result.execution_count == number


def test_busy_session_fails_by_default_and_names_what_runs(client, session):
    stream = client.stream("print('on')\nwhile True: pass", session)
    stream.until_output(b"on\n")
    with refused("SESSION_BUSY", grpc.StatusCode.ABORTED, retry=True) as fault:
        client.execute("1", session)
    assert fault[0].metadata["currentExecutionId"] == stream.outcome.execution_id
    client.interrupt(session)
    stream.finish()


def test_queued_executions_run_in_order(client, session):
    queue = {"busy_policy": ex.ExecutionSpec.BUSY_POLICY_QUEUE}
    first = client.stream("order = []\nprint('on')\ninput()", session,
                          stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    first.until(lambda o: o.of_kind("input_request"))
    ids = [client.start(f"order.append({i})", session, **queue).execution_id for i in range(20)]
    client.write_stdin(session, first.outcome.execution_id, b"\n", eof=True)
    first.finish().ok()
    for execution_id in ids:
        done = client.finished(session, execution_id)
        assert done.result.status == done.result.STATUS_OK
    client.execute("print(order == list(range(20)))", session, **queue).ok("True\n")


def test_queued_executions_of_a_session_that_dies_get_results(client, session):
    queue = {"busy_policy": ex.ExecutionSpec.BUSY_POLICY_QUEUE}
    stream = client.stream("print('on')\ninput()\nimport os\nos._exit(1)", session,
                           stdin_mode=ex.ExecutionSpec.STDIN_MODE_STREAM)
    stream.until(lambda o: o.of_kind("input_request"))
    waiting = client.start("print('never')", session, **queue)
    client.write_stdin(session, stream.outcome.execution_id, b"\n", eof=True)
    stream.finish().expect("EXITED")
    done = client.finished(session, waiting.execution_id)
    assert done.result.status != done.result.STATUS_OK
    assert not done.result.session_alive


def test_delete_ends_what_runs_and_deleting_twice_is_ok(client):
    session = client.create().session_id
    stream = client.stream("print('on')\nimport os\nprint(os.getpid())\nwhile True: pass", session)
    stream.until(lambda o: o.stdout.count(b"\n") == 2)
    pid = int(stream.outcome.text.split()[1])
    client.delete(session)
    got = stream.finish()
    assert got.status == "CANCELLED", got.result
    assert not got.result.session_alive
    until(lambda: not exists(pid), "the process is gone")
    client.delete(session)
    with refused("SESSION_NOT_FOUND", grpc.StatusCode.NOT_FOUND):
        client.execute("1", session)


def test_deleting_a_session_removes_its_directory(client):
    made = client.create()
    code = """
import os
os.makedirs('a/b/c')
open('a/b/c/f', 'w').write('x')
os.symlink('/etc', 'link')
os.mkdir('locked')
open('locked/f', 'w')
os.chmod('locked', 0)
os.mkfifo('fifo') if hasattr(os, 'mkfifo') else None
open('odd \\n\\udcff name', 'w')
d = 'deep'
for i in range(800):
    os.mkdir(d)
    os.chdir(d)
"""
    client.execute(code, made.session_id)
    client.delete(made.session_id)
    until(lambda: not os.path.lexists(made.working_directory), "the directory is gone")
    assert os.path.isdir("/etc"), "links are not followed"


def test_restart_gives_a_fresh_interpreter_under_the_same_id(client):
    with client.session(env={"KEPT": "yes"}) as session:
        before = client.get_session(session)
        client.execute("x = 1\nopen('file', 'w').write('stays')", session).ok()
        after = client.restart(session)
        assert after.session_id == session
        assert after.generation == before.generation + 1
        assert after.working_directory == before.working_directory
        client.execute("import os\nprint('x' in globals(), open('file').read(), os.environ['KEPT'])",
                       session).ok("False stays yes\n")


def test_restart_of_a_busy_session_ends_its_execution(client, session):
    stream = client.stream("print('on')\nwhile True: pass", session)
    stream.until_output(b"on\n")
    client.restart(session)
    got = stream.finish()
    assert got.status == "CANCELLED", got.result
    client.execute("print('new')", session).ok("new\n")


def test_restart_with_a_request_id_happens_once(client, session):
    key = new_id()
    first = client.restart(session, key)
    assert client.restart(session, key).generation == first.generation
    assert client.restart(session, new_id()).generation == first.generation + 1


def test_create_with_a_request_id_happens_once(client):
    key = new_id()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        ids = {f.result().session_id
               for f in [pool.submit(client.create, request_id=key) for _ in range(8)]}
    assert len(ids) == 1
    with refused("REQUEST_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        client.create(request_id=key, labels={"other": "yes"})
    client.delete(ids.pop())


def test_list_is_newest_first_paged_and_filtered_by_labels(client):
    mark = new_id()
    made = [client.create(labels={"mark": mark, "n": str(i)}).session_id for i in range(5)]
    listed, token = [], ""
    while True:
        page = client.list_sessions(labels={"mark": mark}, page_size=2, page_token=token)
        assert len(page.sessions) <= 2
        listed += [s.session_id for s in page.sessions]
        token = page.next_page_token
        if not token:
            break
    assert listed == made[::-1]
    one = client.list_sessions(labels={"mark": mark, "n": "3"}).sessions
    assert [s.session_id for s in one] == [made[3]]
    for session in made:
        client.delete(session)
    assert not client.list_sessions(labels={"mark": mark}).sessions


def test_environment_of_sessions_and_executions(client):
    with client.session(env={"A": "session", "B": "session"}) as session:
        show = "import os, subprocess\nprint(os.environ['A'], os.environ['B'])\n" \
               "subprocess.run('echo $A $B', shell=True)"
        client.execute(show, session, env={"B": "execution"}).ok(
            "session execution\nsession execution\n")
        client.execute(show, session).ok("session session\nsession session\n")


def test_nothing_of_the_daemons_environment_is_visible(own_daemon):
    client = own_daemon.connect(own_daemon(environment={"SECRET_TOKEN": "hunter2"}))
    code = "import os\nprint(os.environ.get('SECRET_TOKEN'))\n" \
           "print(b'hunter2' in open('/proc/self/environ', 'rb').read())"
    client.execute(code).ok("None\nFalse\n")


def test_idle_sessions_expire_and_say_so(own_daemon):
    client = own_daemon.connect(own_daemon())
    session = client.create(idle_timeout=0.3).session_id
    pid = int(client.execute("import os\nprint(os.getpid())", session).ok().text)
    until(lambda: not exists(pid), "the process is gone")
    with refused("SESSION_EXPIRED", grpc.StatusCode.NOT_FOUND):
        client.execute("1", session)


def test_a_running_execution_is_not_idle(own_daemon):
    client = own_daemon.connect(own_daemon())
    session = client.create(idle_timeout=0.2).session_id
    code = "import time\nend = time.monotonic() + 0.7\nwhile time.monotonic() < end: pass\n" \
           "print('whole')"
    client.execute(code, session).ok("whole\n")


def test_renew_pushes_the_expiry_back(client, session):
    before = client.get_session(session).expire_time.ToNanoseconds()
    request = ss.RenewSessionRequest(session_id=session)
    request.ttl.FromSeconds(7200)
    after = client.sessions.RenewSession(request, timeout=RPC_TIMEOUT).session
    assert after.expire_time.ToNanoseconds() > before


def test_watch_shows_the_listing_and_the_changes(client):
    mark = new_id()
    known = client.create(labels={"mark": mark}).session_id
    request = ss.WatchSessionsRequest(labels={"mark": mark})
    call = client.sessions.WatchSessions(request, timeout=RPC_TIMEOUT)

    def wait_for(condition):
        for change in call:
            if condition(change):
                return change
        raise AssertionError("the watch ended")

    first = wait_for(lambda c: True)
    assert first.upserted.session_id == known
    assert wait_for(lambda c: True).synced
    new = client.create(labels={"mark": mark}).session_id
    other = client.create(labels={"mark": "another"}).session_id
    wait_for(lambda c: c.upserted.session_id == new)
    client.delete(known)
    gone = wait_for(lambda c: c.deleted_session_id)
    assert gone.deleted_session_id == known
    call.cancel()
    for session in (new, other):
        client.delete(session)


def test_throw_away_executions_leave_no_session(client):
    got = client.execute("import os\nopen('f', 'w')\nprint(os.getpid(), os.getcwd())").ok()
    pid, folder = got.text.split()
    until(lambda: not exists(int(pid)), "the process is gone")
    until(lambda: not os.path.lexists(folder), "its directory is gone")
    assert got.session_id not in [s.session_id for s in client.list_sessions().sessions]
    # Its execution stays readable.
    assert client.get(got.session_id, got.execution_id).result == got.result
    assert client.attach(got.session_id, got.execution_id).stdout == got.stdout


def test_a_hundred_sessions_live_beside_each_other(client):
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: client.create().session_id, range(100)))
        list(pool.map(lambda p: client.execute(f"x = {p[0]}", p[1]).ok(), enumerate(made)))
        texts = list(pool.map(lambda s: client.execute("print(x)", s).ok().text, made))
        assert texts == [f"{i}\n" for i in range(100)]
        list(pool.map(client.delete, made))


@pytest.mark.parametrize("bad", ["/", "/etc", "relative", "../up"])
def test_working_directory_outside_the_roots_is_refused(own_daemon, tmp_path, bad):
    client = own_daemon.connect(own_daemon("--work-root", str(tmp_path)))
    with pytest.raises(grpc.RpcError) as caught:
        client.create(working_directory=bad)
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_a_link_out_of_the_root_is_refused(own_daemon, tmp_path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "out").symlink_to("/etc")
    client = own_daemon.connect(own_daemon("--work-root", str(root)))
    with pytest.raises(grpc.RpcError) as caught:
        client.create(working_directory=str(root / "out"))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_usage_and_timings_are_filled_in(client, session):
    got = client.execute("x = sum(i * i for i in range(300000))\nprint(x)", session).ok()
    usage, timings = got.result.usage, got.result.timings
    assert seconds(usage.cpu_user) > 0
    assert usage.max_rss_bytes > 1 << 20
    parts = seconds(timings.queue) + seconds(timings.dispatch) + seconds(timings.run)
    assert 0 < seconds(timings.run) <= seconds(timings.total)
    assert parts <= seconds(timings.total) * 1.01 + 0.001
    assert timings.receive_time.ToNanoseconds() > 0
    assert 0 < seconds(timings.first_output) <= seconds(timings.total)
