# expect: status=OK alive=yes stdout="{0}\n"
# The bounding set is what the daemon's user was given, when that user can't change it.
held = ("CapInh", "CapPrm", "CapEff", "CapAmb")
with open("/proc/self/status", encoding="ascii") as status:
    print({int(line.split()[1], 16) for line in status if line.startswith(held)})
