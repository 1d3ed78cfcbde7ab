"""A process with many clients that the test kills: vanishing_client.py ADDRESS COUNT.

A third of them reads output, a third waits for `started`, a third reads nothing. Says so on
standard output when all are where they should be."""

import signal
import sys

from support import stubs

stubs.install()

from support.client import Client  # noqa: E402

CODE = "import time\nwhile True:\n    print('x' * 1000)\n    time.sleep(0.001)"


def main():
    address, count = sys.argv[1], int(sys.argv[2])
    kept = []
    for number in range(count):
        client = Client(address)
        client.ping()
        stream = client.stream(CODE)
        kept.append((client, stream))
        if number % 3 == 0:
            stream.until(lambda o: o.stdout)
        elif number % 3 == 1:
            stream.until(lambda o: o.started)
    print("all there", flush=True)
    signal.pause()


main()
