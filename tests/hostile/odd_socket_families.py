# expect: status=OK alive=yes stdout="97\n"
import socket
errors = set()
for family in (socket.AF_PACKET, socket.AF_VSOCK, socket.AF_ALG, socket.AF_NETLINK):
    try:
        socket.socket(family, socket.SOCK_RAW if family == socket.AF_PACKET else
                      socket.SOCK_SEQPACKET if family == socket.AF_ALG else socket.SOCK_DGRAM)
        errors.add("made")
    except OSError as error:
        errors.add(error.errno)
print(*errors)
