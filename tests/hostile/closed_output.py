# expect: status=ERROR exc=OSError alive=yes stdout=""
import os
os.close(1)
os.close(2)
print("nowhere")
