# expect: status=OK alive=yes stdout="fine\n"
import asyncio
import mmap
import queue
import select
import socket
import sqlite3
import ssl
import subprocess
import tempfile
import threading
ssl.create_default_context()
assert sqlite3.connect(":memory:").execute("select 1").fetchone() == (1,)
with tempfile.TemporaryFile(dir=".") as file:
    file.write(b"x")
left, right = socket.socketpair()
left.send(b"x")
assert select.select([right], [], [], 5)[0]
assert asyncio.run(asyncio.sleep(0, "x")) == "x"
box = queue.Queue()
threading.Thread(target=box.put, args=(1,)).start()
assert box.get() == 1
assert subprocess.run(["ls", "/"], capture_output=True, check=True).stdout
with socket.create_server(("127.0.0.1", 0)) as server:
    socket.create_connection(server.getsockname()).close()
select.epoll().close()
mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC).close()
print("fine")
