# expect: status=OK alive=yes
# It steals its own bytes from the pipe: it can only harm itself.
import os
print("a" * 1000)
try:
    back = os.open("/proc/self/fd/1", os.O_RDONLY | os.O_NONBLOCK)
    for _ in range(100):
        os.write(1, b"b" * 100)
        os.read(back, 50)
except OSError:
    pass
