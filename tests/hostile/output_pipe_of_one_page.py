# expect: status=OK alive=yes
import fcntl
fcntl.fcntl(1, 1031, 4096)
print("z" * 100000)
