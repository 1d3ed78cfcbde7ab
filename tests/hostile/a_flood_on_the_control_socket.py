# expect: status=CRASHED|ERROR|EXITED|OK|TIMEOUT_ERROR timeout=2
import os
os.set_blocking(3, False)
for _ in range(2000):
    try:
        os.write(3, b"\0" * 1000)
    except BlockingIOError:
        pass
