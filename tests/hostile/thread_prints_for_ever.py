# expect: status=OK alive=yes
import threading
def forever():
    while True:
        print("tick" * 100)
threading.Thread(target=forever, daemon=True).start()
