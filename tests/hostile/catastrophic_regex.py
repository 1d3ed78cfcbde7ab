# expect: status=TIMEOUT_ERROR alive=yes timeout=0.4
import re
re.match(r"(a|aa)+$", "a" * 60 + "b")
