# expect: status=CRASHED signal=26
import signal
signal.setitimer(signal.ITIMER_VIRTUAL, 0.05)
while True:
    pass
