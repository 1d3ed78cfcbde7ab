# expect: status=OK alive=yes stdout="[]\n"
import ctypes
import platform
libc = ctypes.CDLL(None, use_errno=True)
calls = {"x86_64": {"bpf": 321, "perf_event_open": 298, "userfaultfd": 323, "io_uring_setup": 425,
                    "add_key": 248, "keyctl": 250, "ptrace": 101, "kexec_load": 246,
                    "init_module": 175, "swapon": 167, "reboot": 169, "pidfd_getfd": 438}}
allowed = []
for name, number in calls.get(platform.machine(), {}).items():
    if libc.syscall(number, 0, 0, 0, 0, 0) >= 0 or ctypes.get_errno() not in (1, 38):
        allowed.append(name)
print(allowed)
