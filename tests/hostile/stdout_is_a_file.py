# expect: status=OK alive=yes stdout=""
import os
os.close(1)
os.open("captured", os.O_CREAT | os.O_WRONLY)
print("into the file")
