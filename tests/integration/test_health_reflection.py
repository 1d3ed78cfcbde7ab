"""grpc.health.v1, grpc.reflection v1 and v1alpha, and grpcurl with no proto at hand."""

import base64
import json
import os
import shutil
import signal
import subprocess

import grpc
import pytest
from google.protobuf import descriptor_pb2
from support.api import ex
from support.client import RPC_TIMEOUT
from testproto import (health_pb2, health_pb2_grpc, reflection_v1_pb2, reflection_v1_pb2_grpc,
                       reflection_v1alpha_pb2, reflection_v1alpha_pb2_grpc)

SERVICES = ["pyexec.v1.ExecutionService", "pyexec.v1.SessionService", "pyexec.v1.ServerService"]
SERVING = health_pb2.HealthCheckResponse.SERVING


def health(client):
    return health_pb2_grpc.HealthStub(client.channel)


def request(service=""):
    return health_pb2.HealthCheckRequest(service=service)


@pytest.mark.parametrize("service", ["", *SERVICES])
def test_health_says_serving(client, service):
    assert health(client).Check(request(service), timeout=RPC_TIMEOUT).status == SERVING


def test_health_of_an_unknown_service(client):
    with pytest.raises(grpc.RpcError) as caught:
        health(client).Check(request("no.such"), timeout=RPC_TIMEOUT)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND
    watch = health(client).Watch(request("no.such"), timeout=RPC_TIMEOUT)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
    watch.cancel()


def test_health_watch_sees_the_drain(own_daemon):
    daemon = own_daemon("--drain-timeout", "100s", "--interrupt-grace", "100ms")
    client = own_daemon.connect(daemon)
    stream = client.stream("print('on')\nwhile True: pass")
    stream.until_output(b"on\n")
    watch = health(client).Watch(request(), timeout=RPC_TIMEOUT)
    assert next(watch).status == SERVING
    daemon.signal(signal.SIGTERM)
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING
    daemon.signal(signal.SIGTERM)
    stream.finish()
    assert daemon.wait_exit() == 0


REFLECTION = {
    "v1": (reflection_v1_pb2, reflection_v1_pb2_grpc),
    "v1alpha": (reflection_v1alpha_pb2, reflection_v1alpha_pb2_grpc),
}


@pytest.fixture(params=REFLECTION)
def reflect(client, request):
    messages, stubs = REFLECTION[request.param]
    stub = stubs.ServerReflectionStub(client.channel)

    def ask(*fields):
        requests = [messages.ServerReflectionRequest(**f) for f in fields]
        return list(stub.ServerReflectionInfo(iter(requests), timeout=RPC_TIMEOUT))
    return ask


def test_reflection_lists_every_service(reflect):
    (answer,) = reflect({"list_services": "*"})
    names = [s.name for s in answer.list_services_response.service]
    assert set(SERVICES) <= set(names)
    assert {"grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection",
            "grpc.reflection.v1alpha.ServerReflection"} <= set(names)
    assert len(names) == len(set(names))


def parsed(answer):
    return [descriptor_pb2.FileDescriptorProto.FromString(raw)
            for raw in answer.file_descriptor_response.file_descriptor_proto]


@pytest.mark.parametrize("symbol", [
    *SERVICES, "pyexec.v1.ExecutionService.Execute", "pyexec.v1.ExecutionResult",
    "pyexec.v1.ExecutionResult.Status", "pyexec.v1.ExecutionSpec.BusyPolicy",
    "google.protobuf.Duration", "grpc.health.v1.Health"])
def test_reflection_finds_symbols_with_all_they_need(reflect, symbol):
    (answer,) = reflect({"file_containing_symbol": symbol})
    files = {f.name: f for f in parsed(answer)}
    assert files, answer
    wanted = list(files)
    while wanted:
        name = wanted.pop()
        if name not in files:
            (more,) = reflect({"file_by_filename": name})
            files.update({f.name: f for f in parsed(more)})
            assert name in files
        wanted += [d for d in files[name].dependency if d not in files]


def test_reflection_answers_in_order_and_names_what_it_lacks(reflect):
    asked = [{"file_containing_symbol": "no.such.Symbol"},
             {"file_by_filename": "pyexec/v1/types.proto"},
             {"file_by_filename": "no/such.proto"}, {"all_extension_numbers_of_type": "a.B"},
             {"list_services": ""}]
    answers = reflect(*asked)
    assert len(answers) == len(asked)
    for answer in (answers[0], answers[2], answers[3]):
        assert answer.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]
        assert answer.error_response.error_message
    assert parsed(answers[1])[0].name == "pyexec/v1/types.proto"
    assert answers[4].list_services_response.service
    assert answers[0].original_request.file_containing_symbol == "no.such.Symbol"


def test_the_descriptors_are_those_of_the_contract(reflect):
    (answer,) = reflect({"file_by_filename": "pyexec/v1/execution_service.proto"})
    ours = descriptor_pb2.FileDescriptorProto()
    ex.DESCRIPTOR.CopyToProto(ours)
    (theirs,) = [f for f in parsed(answer) if f.name == ours.name]
    theirs.ClearField("source_code_info")
    for file in (ours, theirs):
        clear_json_names(file.message_type)
    assert theirs == ours


def clear_json_names(messages):
    """protoc derives them; Python's copy of the descriptor is without."""
    for message in messages:
        for field in message.field:
            field.ClearField("json_name")
        clear_json_names(message.nested_type)


@pytest.fixture
def grpcurl():
    """Built by the set-up of the tests (bazel/test)."""
    path = os.environ.get("PYEXEC_GRPCURL") or shutil.which("grpcurl")
    assert path, "no grpcurl: set PYEXEC_GRPCURL"

    def call(address, *arguments):
        return subprocess.run([path, "-plaintext", *arguments[:-1], address, arguments[-1]]
                              if arguments[-1] != "list" else
                              [path, "-plaintext", address, "list"],
                              capture_output=True, text=True, check=True, timeout=110).stdout
    return call


def test_grpcurl_lists_the_services(grpcurl, daemon):
    assert set(SERVICES) <= set(grpcurl(daemon.tcp_address, "list").split())


def test_grpcurl_runs_code_and_shows_streamed_events(grpcurl, daemon):
    spec = json.dumps({"spec": {"code": "for i in range(3): print(i)"}})
    text = grpcurl(daemon.tcp_address, "-d", spec, "pyexec.v1.ExecutionService/Execute")
    decoder, events, place = json.JSONDecoder(), [], 0
    while place < len(text.rstrip()):
        event, place = decoder.raw_decode(text, place)
        events.append(event["event"])
        while place < len(text) and text[place].isspace():
            place += 1
    assert "started" in events[0]
    out = b"".join(base64.b64decode(e["output"]["data"]) for e in events if "output" in e)
    assert out == b"0\n1\n2\n"
    assert events[-1]["result"]["status"] == "STATUS_OK"
