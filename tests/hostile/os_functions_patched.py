# expect: status=OK alive=yes stdout="still\n"
import os
import sys
keep = os.write
os.write = os._exit = os.close = os.dup2 = sys.exit = lambda *_: None
print("still")
