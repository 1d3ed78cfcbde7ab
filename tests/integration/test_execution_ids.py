"""execution_id is an idempotency key: the same id with the same spec is the same execution."""

import concurrent.futures

import grpc
import pytest
from support.client import new_id
from support.faults import refused


def test_the_same_id_and_spec_runs_once(client, session):
    key = new_id()
    first = client.execute("n = globals().get('n', 0) + 1\nprint(n)", session, key).ok("1\n")
    again = client.execute("n = globals().get('n', 0) + 1\nprint(n)", session, key).ok("1\n")
    assert not first.started.replayed
    assert again.started.replayed
    assert again.result == first.result
    client.execute("print(n)", session).ok("1\n")


def test_twenty_callers_with_one_id_see_one_execution(client, session):
    key = new_id()
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        calls = [pool.submit(client.execute, "import os\nprint(os.urandom(4).hex())", session, key)
                 for _ in range(20)]
        got = [c.result().ok() for c in calls]
    assert len({g.stdout for g in got}) == 1
    assert [g.started.replayed for g in got].count(False) == 1


def test_a_repeat_attaches_to_a_running_execution(client, session):
    key = new_id()
    code = "print('on')\nwhile True: pass"
    one = client.stream(code, session, key)
    one.until_output(b"on\n")
    other = client.stream(code, session, key)
    other.until_output(b"on\n")
    assert other.outcome.started.replayed
    client.interrupt(session)
    assert one.finish().result == other.finish().result


@pytest.mark.parametrize("change", [{"code": "2"}, {"timeout": 5}, {"silent": True},
                                    {"env": {"A": "b"}}, {"filename": "other.py"}])
def test_the_same_id_with_another_spec_is_refused(client, session, change):
    key = new_id()
    client.execute("1", session, key).ok()
    fields = {"code": "1", **change}
    with refused("EXECUTION_ID_REUSED", grpc.StatusCode.ALREADY_EXISTS):
        client.execute(fields.pop("code"), session, key, **fields)


def test_run_and_start_and_execute_share_the_ids(client, session):
    key = new_id()
    client.start("print('once')", session, key)
    assert client.run("print('once')", session, key).stdout == b"once\n"
    assert client.execute("print('once')", session, key).ok("once\n").started.replayed
    assert client.start("print('once')", session, key).execution_id == key


def test_a_given_id_is_kept_and_a_missing_one_is_made(client, session):
    assert client.execute("1", session, "my-own.id_1").execution_id == "my-own.id_1"
    made = [client.execute("1", session).execution_id for _ in range(3)]
    assert len(set(made)) == 3 and all(made)


def test_ids_belong_to_their_session(client):
    with client.session() as one, client.session() as other:
        client.execute("print(1)", one, "same").ok("1\n")
        client.execute("print(2)", other, "same").ok("2\n")


def test_the_id_survives_a_restart_of_the_session(client, session):
    key = new_id()
    first = client.execute("print('first')", session, key).ok()
    client.restart(session)
    again = client.execute("print('first')", session, key).ok()
    assert again.started.replayed and again.result == first.result
