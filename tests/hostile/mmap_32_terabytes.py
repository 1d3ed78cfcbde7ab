# expect: status=ERROR exc=OSError
import mmap
mmap.mmap(-1, 1 << 60)
