# expect: status=EXITED alive=no code=0 stdout="tests passed\n"
import os
print("tests passed")
os._exit(0)
