# expect: status=OK alive=yes
import os
for name in (b"\n", b"\xff\xfe", b" ", b"-rf", b"*", b"x" * 255, "ü€".encode()):
    with open(name, "w"):
        pass
    os.symlink(b"/etc/passwd", b"link-" + name[:100])
