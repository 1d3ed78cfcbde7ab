# expect: status=OK alive=yes stdout="[0, 1, 2, 3]\n"
# Standard streams and the control socket, and nothing of the daemon, the zygote or neighbours.
import os
print(sorted(int(n) for n in os.listdir("/proc/self/fd") if os.path.exists(f"/proc/self/fd/{n}")))
