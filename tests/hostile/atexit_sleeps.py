# expect: status=OK
import atexit
import time
atexit.register(time.sleep, 1000)
