# expect: status=EXITED
raise SystemExit(10 ** 30)
