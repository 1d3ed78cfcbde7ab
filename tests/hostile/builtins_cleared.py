# expect: status=ERROR exc=NameError
import builtins
vars(builtins).clear()
print("x")
