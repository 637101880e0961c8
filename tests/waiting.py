"""Waiting for what happens elsewhere, in other processes and threads, without a bet on how long it takes."""

import time
from collections.abc import Callable

LONG_SECONDS = 900.0
"""Longer than anything here takes on a slow and busy machine: to end a test that would never end."""


def wait_until(condition: Callable[[], object], explain: Callable[[], object] = str) -> None:
    """Wait until something holds.

    Args:
        condition: what is to hold; it is looked at every 20 ms.
        explain: what is said if it never does.
    """
    end = time.monotonic() + LONG_SECONDS
    while not condition():
        assert time.monotonic() < end, explain()
        time.sleep(0.02)
