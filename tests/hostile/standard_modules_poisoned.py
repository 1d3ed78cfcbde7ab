# expect: status=ERROR exc=ZeroDivisionError
import sys
for name in list(sys.modules):
    if name != "__main__":
        sys.modules[name] = None
1 / 0
