# expect: status=OK alive=yes
import os
import socket
try:
    os.mkfifo("fifo")
except PermissionError:
    pass
socket.socket(socket.AF_UNIX).bind("socket")
