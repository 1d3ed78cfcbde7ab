# expect: status=CRASHED signal=11|6
import ctypes
ctypes.memset(id(None), 0, 16)
ctypes.memset(id(int), 0, 400)
int("1")
