"""Waiting for processes: the limits only guard against hanging, so a busy machine needs no others."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")
#: Seconds without what is waited for, or without any progress, after which nobody waits any longer.
PATIENCE = 180.0


def wait_for(
    read: Callable[[], T],
    done: Callable[[T], bool] = bool,
    *,
    what: str,
    timeout: float = PATIENCE,
    pause: float = 0.3,
) -> T:
    """Call ``read`` until its value is ``done``, and return the value.

    :raises TimeoutError: saying ``what`` did not happen, and the last value.
    """
    deadline = time.monotonic() + timeout
    while not done(value := read()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"Not within {timeout:g} s: {what}; last seen: {value!r}")
        time.sleep(pause)
    return value
