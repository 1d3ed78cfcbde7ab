# expect: status=OK alive=yes stdout="1.5\n"
import locale
try:
    locale.setlocale(locale.LC_ALL, "")
except locale.Error:
    pass
print(1.5)
