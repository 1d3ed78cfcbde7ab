# expect: status=OK alive=yes
for number in range(3000):
    open(f"file-{number}", "w").close()
