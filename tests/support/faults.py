"""Reads the rich errors of refused calls."""

import contextlib

import grpc
from testproto import rich_errors_pb2 as rich

DETAILS_KEY = "grpc-status-details-bin"
DETAILS_MAX = 8 << 10


class Fault:
    """A status with what its details say."""

    def __init__(self, error):
        self.code = error.code()
        self.text = error.details()
        self.reason = None
        self.metadata = {}
        self.retry = None
        self.fields = []
        packed = dict(error.trailing_metadata() or ()).get(DETAILS_KEY)
        self.has_details = packed is not None
        if packed is None:
            return
        assert len(packed) < DETAILS_MAX, len(packed)
        status = rich.Status.FromString(packed)
        assert status.code == self.code.value[0], "the details tell another status"
        assert status.message == self.text, "the details tell another message"
        for any_detail in status.details:
            self._detail(any_detail)

    def _detail(self, any_detail):
        info, retry, bad = rich.ErrorInfo(), rich.RetryInfo(), rich.BadRequest()
        if any_detail.Unpack(info):
            assert info.domain == "pyexec", info
            self.reason = info.reason
            self.metadata = dict(info.metadata)
        elif any_detail.Unpack(retry):
            self.retry = retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9
        elif any_detail.Unpack(bad):
            self.fields = [v.field for v in bad.field_violations]


@contextlib.contextmanager
def refused(reason, code, retry=False):
    """The body's call must be refused so. Yields a list that gets the Fault."""
    got = []
    try:
        yield got
    except grpc.RpcError as error:
        fault = Fault(error)
        got.append(fault)
        assert fault.code == code, f"{fault.code} {fault.reason}: {fault.text}"
        assert fault.reason == reason, f"{fault.reason}: {fault.text}"
        assert fault.text, "a fault needs a sentence for a person"
        assert (fault.retry is not None) == retry, f"retry delay {fault.retry}"
        return
    raise AssertionError(f"accepted, where {reason} was due")
