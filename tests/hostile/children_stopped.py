# expect: status=OK alive=yes stdout="done\n"
import os
import signal
for _ in range(5):
    if os.fork() == 0:
        os.setsid()
        os.kill(os.getpid(), signal.SIGSTOP)
        os._exit(0)
print("done")
