# expect: status=OK alive=yes
globals().clear()
