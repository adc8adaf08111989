"""At most so many requests in a second."""

from __future__ import annotations

import threading
import time


class RateLimiter:
    """Spaces requests evenly, so that at most ``max_qps`` go out per second.

    It only says how long to wait: sync client, async client and poller each wait in their own way.

    :param max_qps: requests per second; None for no limit.
    """

    def __init__(self, max_qps: float | None) -> None:
        self._gap = 1 / max_qps if max_qps else 0.0
        self._next = 0.0
        self._lock = threading.Lock()

    def next_slot(self) -> float:
        """Take the next slot, and return the seconds to wait for it."""
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + self._gap
            return start - now
