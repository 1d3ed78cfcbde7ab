# expect: status=OK alive=yes
import os
import signal
os.set_blocking(1, False)
signal.set_wakeup_fd(1)
signal.signal(signal.SIGUSR1, lambda *_: None)
os.kill(os.getpid(), signal.SIGUSR1)
