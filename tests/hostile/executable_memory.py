# expect: status=OK alive=yes stdout="7\n"
# JITs and ctypes callbacks need it.
import ctypes
print(ctypes.CFUNCTYPE(ctypes.c_int)(lambda: 7)())
