# expect: status=ERROR exc=MemoryError alive=yes
"x" * (1 << 60)
