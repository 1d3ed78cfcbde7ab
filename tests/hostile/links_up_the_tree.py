# expect: status=OK alive=yes
# Cleaning up must not follow them.
import os
os.symlink("/", "root")
os.symlink("..", "up")
os.symlink("self", "self")
