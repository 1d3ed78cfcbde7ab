# expect: status=CRASHED signal=6
import ctypes
ctypes.pythonapi.Py_FatalError(b"on purpose")
