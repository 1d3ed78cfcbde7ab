# expect: status=ERROR exc=ValueError alive=yes
str(10 ** 5000)
