# expect: status=OK alive=yes stdout="1\n"
import sys
depth, frame = 0, sys._getframe()
while frame:
    depth, frame = depth + 1, frame.f_back
print(depth)
