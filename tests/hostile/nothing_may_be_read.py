# expect: status=OK alive=yes
import os
os.makedirs("locked/inside")
os.chmod("locked/inside", 0)
os.chmod("locked", 0)
os.chmod(".", 0)
