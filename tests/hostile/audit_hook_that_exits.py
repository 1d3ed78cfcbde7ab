# expect: status=OK|EXITED|CRASHED
import os
import sys
sys.addaudithook(lambda event, args: os._exit(0) if event == "compile" else None)
