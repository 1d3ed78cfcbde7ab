# expect: status=OK stdout="done\n"
import os
for _ in range(5):  # 2 ** 5 processes, each a child of the one before
    if os.fork() == 0:
        leader = False
    else:
        leader = globals().get("leader", True)
if not leader:
    import time
    time.sleep(1000)
print("done")
