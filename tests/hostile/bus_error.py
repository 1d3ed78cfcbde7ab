# expect: status=CRASHED signal=7
import mmap
with open("file", "wb+") as file:
    file.truncate(4096)
    mapped = mmap.mmap(file.fileno(), 4096)
    file.truncate(0)
mapped[0]
