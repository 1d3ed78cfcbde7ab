# expect: status=TIMEOUT_ERROR alive=no timeout=0.3 stdout="s\n"
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
print("s")
while True:
    pass
