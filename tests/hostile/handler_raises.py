# expect: status=ERROR exc=ValueError alive=yes
import os
import signal
def handler(*_):
    raise ValueError("from the handler")
signal.signal(signal.SIGUSR1, handler)
os.kill(os.getpid(), signal.SIGUSR1)
