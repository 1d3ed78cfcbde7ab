# expect: status=ERROR exc=ZeroDivisionError alive=yes
import os
kept = []
try:
    while True:
        kept.append(os.open("/dev/null", 0))
except OSError:
    pass
1 / 0
