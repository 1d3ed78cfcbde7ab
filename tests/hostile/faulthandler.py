# expect: status=CRASHED signal=11 stderr="Fatal Python error: Segmentation fault"
import ctypes
import faulthandler
faulthandler.enable()
ctypes.string_at(0)
