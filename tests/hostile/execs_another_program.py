# expect: status=EXITED|CRASHED|OK
import os
os.execv("/bin/echo", ["echo", "replaced"])
