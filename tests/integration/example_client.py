"""The Python example of the top README, whole: streams one execution.

Usage: example_client.py ADDRESS FILE, with the generated stubs on PYTHONPATH.
"""

import sys

import grpc
from pyexec.v1.execution_service_pb2 import ExecuteRequest, ExecutionSpec
from pyexec.v1.execution_service_pb2_grpc import ExecutionServiceStub
from pyexec.v1.types_pb2 import ExecutionResult, OutputStream


def main() -> int:
    address, path = sys.argv[1:]
    with open(path, encoding="utf-8") as source, grpc.insecure_channel(address) as channel:
        executions = ExecutionServiceStub(channel)
        spec = ExecutionSpec(code=source.read())
        for response in executions.Execute(ExecuteRequest(spec=spec)):
            event = response.event
            if event.HasField("output"):
                is_stdout = event.output.stream == OutputStream.OUTPUT_STREAM_STDOUT
                stream = sys.stdout if is_stdout else sys.stderr
                stream.buffer.write(event.output.data)
                stream.flush()
            elif event.HasField("result"):
                print(ExecutionResult.Status.Name(event.result.status))
                return 0 if event.result.status == ExecutionResult.STATUS_OK else 1
    return 1


if __name__ == "__main__":
    sys.exit(main())
