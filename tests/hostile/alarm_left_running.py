# expect: status=OK
# It goes off while the session is idle.
import signal
signal.setitimer(signal.ITIMER_REAL, 0.05)
