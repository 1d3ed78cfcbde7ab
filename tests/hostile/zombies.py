# expect: status=OK alive=yes stdout="200\n"
import os
made = 0
for _ in range(200):
    if os.fork() == 0:
        os._exit(0)
    made += 1
print(made)
