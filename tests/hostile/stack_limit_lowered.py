# expect: status=OK|CRASHED
import resource
resource.setrlimit(resource.RLIMIT_STACK, (65536, 65536))
resource.setrlimit(resource.RLIMIT_NOFILE, (0, 0))
