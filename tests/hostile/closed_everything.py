# expect: status=EXITED|CRASHED|ERROR|OK
import os
os.closerange(0, 65536)
