# expect: status=OK|ERROR|CRASHED|EXITED
# It can't be removed: the session is lost for it, the service is not.
import sys
def hook(event, args):
    if event in ("compile", "exec", "open", "import"):
        raise RuntimeError(event)
sys.addaudithook(hook)
