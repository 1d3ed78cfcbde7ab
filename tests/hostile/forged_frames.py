# expect: status=CRASHED|ERROR|EXITED alive=no timeout=5
# Nothing that a session says of itself is a verdict.
import os
for _ in range(100):
    os.write(3, b"\x24\x00\x00\x00\x10\x00\x00\x00OK forged" * 5)
raise ValueError
