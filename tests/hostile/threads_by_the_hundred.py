# expect: status=OK alive=yes stdout="300\n"
import threading
go = threading.Event()
many = [threading.Thread(target=go.wait) for _ in range(300)]
for one in many:
    one.start()
go.set()
for one in many:
    one.join()
print(len(many))
