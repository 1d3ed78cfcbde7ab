# expect: status=OK alive=yes
# The next execution must be interruptible all the same, or be killed at its limit.
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
