"""The generated API under short names. Import after the stubs are installed (conftest.py)."""

from google.protobuf.duration_pb2 import Duration
from pyexec.v1 import execution_service_pb2 as ex
from pyexec.v1 import file_service_pb2 as fs
from pyexec.v1 import server_service_pb2 as sv
from pyexec.v1 import session_service_pb2 as ss
from pyexec.v1 import types_pb2 as ty
from pyexec.v1.execution_service_pb2_grpc import ExecutionServiceStub
from pyexec.v1.file_service_pb2_grpc import FileServiceStub
from pyexec.v1.server_service_pb2_grpc import ServerServiceStub
from pyexec.v1.session_service_pb2_grpc import SessionServiceStub

Result = ty.ExecutionResult
OK = Result.STATUS_OK
ERROR = Result.STATUS_ERROR
TIMEOUT = Result.STATUS_TIMEOUT_ERROR
INTERRUPTED = Result.STATUS_INTERRUPTED
CANCELLED = Result.STATUS_CANCELLED
EXITED = Result.STATUS_EXITED
CRASHED = Result.STATUS_CRASHED
RESOURCE_LIMIT = Result.STATUS_RESOURCE_LIMIT
SERVER_ERROR = Result.STATUS_SERVER_ERROR
STDOUT, STDERR = ty.OUTPUT_STREAM_STDOUT, ty.OUTPUT_STREAM_STDERR
Spec = ex.ExecutionSpec


def duration(seconds):
    nanos = round(seconds * 1e9)
    return Duration(seconds=nanos // 10**9, nanos=nanos % 10**9)


def seconds(value):
    return value.seconds + value.nanos / 1e9
