# expect: status=CRASHED signal=14
import signal
signal.setitimer(signal.ITIMER_REAL, 0.05)
while True:
    pass
