"""Waits for conditions. Nothing in the tests waits for a time."""

import os
import threading
import time

GENEROUS = 60.0  # seconds; only a broken service or a dead machine gets there
# Programs built with a sanitizer are slower and larger; bounds of time and memory grow by this.
SANITIZED = 10 if os.environ.get("PYEXEC_SANITIZER") else 1


def until(condition, what, seconds=GENEROUS):
    """Returns the first true value of condition(). /proc has no notification, hence the looking
    again; the pause is only there to leave the processor to those we wait for."""
    pause = threading.Event()
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            what = what() if callable(what) else what
            raise AssertionError(f"still not so after {seconds:g} s: {what}")
        pause.wait(0.01)
