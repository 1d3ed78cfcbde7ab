# expect: status=OK alive=yes stdout="1\n"
with open("/proc/self/status", encoding="ascii") as status:
    print(next(line.split()[1] for line in status if line.startswith("NoNewPrivs")))
