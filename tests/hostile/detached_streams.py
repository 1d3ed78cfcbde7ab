# expect: status=ERROR exc=ValueError alive=yes
import sys
sys.stdout.detach()
sys.stderr.detach()
print("x")
