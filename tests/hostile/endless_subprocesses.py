# expect: status=TIMEOUT_ERROR timeout=0.5
import subprocess
while True:
    subprocess.Popen(["/bin/true"])
