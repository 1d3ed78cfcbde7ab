# expect: status=TIMEOUT_ERROR timeout=0.5 max_output_bytes=1000000
import os
while True:
    os.write(2, b"e" * 65536)
