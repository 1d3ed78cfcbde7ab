# expect: status=CRASHED|ERROR|EXITED|OK timeout=5
import os
for _ in range(200):
    os.write(3, os.urandom(200))
