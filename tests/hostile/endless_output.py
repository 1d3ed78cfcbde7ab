# expect: status=TIMEOUT_ERROR timeout=0.5 max_output_bytes=1000000
while True:
    print("x" * 1000)
