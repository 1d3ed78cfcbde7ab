# expect: status=OK alive=yes stdout="6\n"
import subprocess
import sys
subprocess.run([sys.executable, "-c", "print(2 * 3)"], check=True)
