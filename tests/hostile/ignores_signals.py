# expect: status=TIMEOUT_ERROR alive=no timeout=0.3 stdout="s\n"
import signal
import time
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, signal.SIG_IGN)
print("s")
while True:
    time.sleep(1)
