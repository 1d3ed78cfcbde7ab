"""A program to watch: throws darts at a quarter circle for five seconds to estimate pi.

Results go to stdout once a second, a progress bar to stderr ten times a second.
"""
import random
import sys
import time

SECONDS = 5
WIDTH = 40

start = time.monotonic()
darts = hits = second = 0
print(f"estimating pi for {SECONDS} s", flush=True)
while (now := time.monotonic() - start) < SECONDS:
    until = time.monotonic() + 0.1
    while time.monotonic() < until:
        for _ in range(2000):
            hits += random.random() ** 2 + random.random() ** 2 < 1
        darts += 2000
    done = min(int((time.monotonic() - start) / SECONDS * WIDTH), WIDTH)
    sys.stderr.write(f"\r[{'#' * done}{'.' * (WIDTH - done)}]")
    if int(now) > second:
        second = int(now)
        sys.stderr.write("\r" + " " * (WIDTH + 2) + "\r")
        print(f"{second} s  {darts:>10,} darts  pi = {4 * hits / darts:.5f}", flush=True)

sys.stderr.write("\r" + " " * (WIDTH + 2) + "\r")
pi = 4 * hits / darts
spread = 4 * (pi / 4 * (1 - pi / 4) / darts) ** 0.5
print(f"pi = {pi:.5f} +- {spread:.5f} after {darts:,} darts")
