"""Looks at processes through /proc."""

import os


class Process:
    """One process as /proc/PID/stat showed it."""

    def __init__(self, pid):
        with open(f"/proc/{pid}/stat", "rb") as stat:
            name, _, rest = stat.read().partition(b"(")[2].rpartition(b")")
        fields = rest.split()
        self.pid = pid
        self.name = name.decode("utf-8", "replace")
        self.state = fields[0].decode()
        self.parent = int(fields[1])

    def __repr__(self):
        return f"{self.pid} {self.name} {self.state} (parent {self.parent}) {command_line(self.pid)}"


def command_line(pid):
    try:
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            return file.read(200).replace(b"\0", b" ").decode("utf-8", "replace").strip()
    except OSError:
        return "?"


def snapshot():
    """Every process of the machine: pid -> Process."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            found[int(name)] = Process(int(name))
        except (OSError, IndexError):
            pass
    return found


def below(root):
    """All descendants of `root`, in no order."""
    everything = snapshot()
    inside, size = {root}, 0
    while len(inside) != size:
        size = len(inside)
        inside |= {p.pid for p in everything.values() if p.parent in inside}
    return [everything[pid] for pid in inside if pid != root and pid in everything]


def exists(pid):
    """A zombie exists, too."""
    return os.path.exists(f"/proc/{pid}")


def alive(pid):
    """Exists and is no zombie."""
    try:
        return Process(pid).state not in "ZX"
    except OSError:
        return False


def descriptors(pid):
    """fd -> what it is; only its owner or root can ask."""
    found = {}
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):
        try:
            found[int(name)] = os.readlink(f"{folder}/{name}")
        except OSError:
            pass
    return found
