# expect: status=OK alive=yes
import os
here = os.getcwd()
os.chdir("/")
os.rename(here, here + "-moved") if os.access(os.path.dirname(here), os.W_OK) else None
