# expect: status=OK alive=yes stdout="0 0 0\n"
# No death signal, no subreaper, not dumpable: allowed, and it changes nothing for us.
import ctypes
libc = ctypes.CDLL(None)
print(libc.prctl(1, 0, 0, 0, 0), libc.prctl(36, 0, 0, 0, 0), libc.prctl(4, 0, 0, 0, 0))
import subprocess
subprocess.Popen(["sleep", "1000"], start_new_session=True)
