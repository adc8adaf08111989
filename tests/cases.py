"""How many random cases to try."""

from __future__ import annotations

import os


def cases(count: int) -> int:
    """Return how many cases to try; the environment variable QIANFAN_FUZZ multiplies them."""
    return max(1, round(count * float(os.environ.get("QIANFAN_FUZZ") or 1)))
