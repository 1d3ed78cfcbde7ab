# expect: status=OK|ERROR|CRASHED
import os
with open("sparse", "wb") as file:
    os.truncate(file.fileno(), 1 << 40)
