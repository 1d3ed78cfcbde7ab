# expect: status=TIMEOUT_ERROR alive=no timeout=0.4
# The faulting instruction is tried again for ever.
import ctypes
import signal
signal.signal(signal.SIGSEGV, lambda *_: None)
ctypes.string_at(0)
