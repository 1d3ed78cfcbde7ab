# expect: status=OK alive=yes stdout="[1]\n"
import ctypes
libc = ctypes.CDLL(None, use_errno=True)
answers = set()
for flag in (0x10000000, 0x00020000, 0x40000000, 0x20000000):
    libc.unshare(flag)
    answers.add(ctypes.get_errno())
libc.mount(b"none", b"/mnt", b"tmpfs", 0, None)
answers.add(ctypes.get_errno())
libc.chroot(b"/")
answers.add(ctypes.get_errno())
print(sorted(answers))
