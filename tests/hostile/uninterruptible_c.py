# expect: status=TIMEOUT_ERROR alive=no timeout=0.4
import collections
import itertools
collections.deque(itertools.repeat(1), maxlen=0)
