# expect: status=OK alive=yes stdout="done\n"
import signal
hits = 0
def hit(*_):
    global hits
    hits += 1
signal.signal(signal.SIGALRM, hit)
signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
while hits < 200:
    print(end="")
signal.setitimer(signal.ITIMER_REAL, 0)
print("done")
