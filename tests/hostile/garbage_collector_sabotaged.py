# expect: status=OK alive=yes
import gc
gc.disable()
gc.set_threshold(1)
gc.callbacks.append(lambda *_: 1 / 0)
gc.enable()
[[] for _ in range(1000)]
gc.callbacks.clear()
