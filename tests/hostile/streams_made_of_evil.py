# expect: status=ERROR exc=ZeroDivisionError alive=yes
import sys
class Evil:
    def __getattr__(self, name):
        raise RuntimeError(name)
sys.stdout = sys.stderr = sys.__stdout__ = sys.__stderr__ = Evil()
1 / 0
