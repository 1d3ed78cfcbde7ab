# expect: status=CRASHED|EXITED|OK|TIMEOUT_ERROR timeout=2
import os
os.dup2(1, 3)
