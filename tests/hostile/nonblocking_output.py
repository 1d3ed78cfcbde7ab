# expect: status=OK alive=yes
import os
os.set_blocking(1, False)
for _ in range(3000):
    print("y" * 100)
