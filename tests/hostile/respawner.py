# expect: status=EXITED alive=no code=0 stdout="main leaves\n"
# The parent ends, the child forks on in a session of its own, and so on for ever.
import os
import time
first = True
while True:
    if os.fork():
        if first:
            print("main leaves")
        os._exit(0)
    first = False
    os.setsid()
    time.sleep(0.01)
