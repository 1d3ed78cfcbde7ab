# expect: status=OK alive=yes stdout="0\n"
import os
pid = os.fork()
if pid == 0:
    os.setpgid(0, 0)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
