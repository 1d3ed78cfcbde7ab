# expect: status=OK alive=yes stdout="{0}\n"
with open("/proc/self/status", encoding="ascii") as status:
    print({int(line.split()[1], 16) for line in status if line.startswith("Cap")})
