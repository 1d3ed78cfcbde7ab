# expect: status=TIMEOUT_ERROR alive=no timeout=0.4 stdout="stopping\n"
# A child stops the session again whenever something continues it.
import os
import signal
me = os.getpid()
print("stopping")
if os.fork() == 0:
    while True:
        os.kill(me, signal.SIGSTOP)
while True:
    pass
