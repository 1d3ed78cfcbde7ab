# expect: status=CRASHED|ERROR|EXITED|OK|TIMEOUT_ERROR timeout=2
import os
os.dup2(3, 1)
print("not a frame")
