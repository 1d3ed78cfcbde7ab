# expect: status=TIMEOUT_ERROR alive=no timeout=0.3
import time
try:
    time.sleep(1000)
finally:
    time.sleep(1000)
