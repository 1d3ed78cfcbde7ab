# expect: status=OK alive=yes stdout="ChildProcessError\n"
# Nothing of the service is a child of the session.
import os
try:
    print(os.waitpid(-1, 0))
except ChildProcessError as error:
    print(type(error).__name__)
