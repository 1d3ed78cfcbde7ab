# expect: status=OK alive=yes
import subprocess
subprocess.Popen("while :; do echo tick; done", shell=True)
