# expect: status=OK alive=yes stdout="done\n"
# A process of another tree can't be had here; one that left the session's group comes close.
import os
import socket
left, right = socket.socketpair()
if os.fork() == 0:
    os.setsid()
    socket.recv_fds(right, 1, 1)
    while True:
        pass
socket.send_fds(left, [b"x"], [1])
print("done")
