"""Runs a daemon so that nothing of its process tree can get out of sight.

The cage is the child subreaper above the daemon: whatever loses its parent in there becomes a
child of the cage. So "the cage has no child" means that the whole tree is gone, and this is known
without looking through /proc.

Usage: cage.py REPORT_FD NOFILE COMMAND ARGUMENT...   (NOFILE 0 leaves the limit alone)
Reports lines on REPORT_FD: `pid N`, later `exit STATUS` (as wait gives it), and `empty`.
End of file on standard input ends the cage and everything in it.
"""

import ctypes
import os
import resource
import select
import signal
import sys

PR_SET_CHILD_SUBREAPER = 36


def parents():
    """pid -> parent pid of every process."""
    found = {}
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/stat", "rb") as stat:
                found[int(name)] = int(stat.read().rpartition(b")")[2].split()[1])
        except OSError:
            pass
    return found


def kill_all():
    while True:
        family = parents()
        below, size = {os.getpid()}, 0
        while len(below) != size:
            size = len(below)
            below |= {pid for pid, parent in family.items() if parent in below}
        for pid in below - {os.getpid()}:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def main():
    report, nofile, command = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        sys.exit("no child subreaper on this kernel")
    wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    daemon = os.fork()
    if daemon == 0:
        os.set_inheritable(report, False)
        os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
        if nofile:
            resource.setrlimit(resource.RLIMIT_NOFILE, (nofile, nofile))
        os.execv(command[0], command)
    os.write(report, f"pid {daemon}\n".encode())
    gone = False
    while True:
        ready, _, _ = select.select([0, wake_read], [], [])
        if wake_read in ready:
            os.read(wake_read, 4096)
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                if gone is False:
                    gone = True
                    os.write(report, b"empty\n")
                break
            if pid == 0:
                break
            if pid == daemon:
                os.write(report, f"exit {status}\n".encode())
        if 0 in ready and not os.read(0, 64):
            kill_all()
            return


main()
