# expect: status=CRASHED signal=15
import os
import signal
os.kill(os.getpid(), signal.SIGTERM)
while True:
    pass
