# expect: status=TIMEOUT_ERROR alive=no timeout=0.3
while True:
    try:
        while True:
            exec("while True: pass")
    except BaseException:
        pass
