# expect: status=CRASHED|ERROR|EXITED|OK|TIMEOUT_ERROR timeout=2
import os
os.write(3, b"\xff" * 64)
