# expect: status=TIMEOUT_ERROR timeout=0.4
7 ** 10 ** 9
