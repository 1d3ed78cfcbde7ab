# expect: status=OK alive=yes
import sys
sys.settrace(lambda *_: None)
sys.setprofile(lambda *_: None)
sys.setswitchinterval(1e-6)
