# expect: status=OK alive=yes stdout="done\n"
x = []
for _ in range(1_000_000):
    x = [x]
del x
print("done")
