# expect: status=TIMEOUT_ERROR|CRASHED timeout=0.5
import os
os.write(3, b"\x30")
while True:
    pass
