# expect: status=OK
import sys
import types
sys.modules["__main__"] = types.ModuleType("__main__")
