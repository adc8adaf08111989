"""How Qianfan writes dates, numbers and shares, and how they are read."""

from __future__ import annotations

import math
from typing import Annotated, Any

from pydantic import BeforeValidator


def _no_date(value: Any) -> Any:
    """Qianfan writes the date of what has not happened as ``0000-00-00T00:00:00Z``."""
    return None if isinstance(value, str) and value.startswith("0000") else value


def _finite(value: Any) -> Any:
    """A diverged training may show ``NaN``, which is no number to compare or to store as JSON."""
    try:
        return value if math.isfinite(float(value)) else None
    except (TypeError, ValueError, OverflowError):
        return None


Date = Annotated[str | None, BeforeValidator(_no_date)]
Number = Annotated[float | None, BeforeValidator(_finite)]


def count(value: Any) -> int | None:
    """Read a whole number from 0 on, or one as text; None where it is none."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    try:
        number = int(value)
    except (ValueError, OverflowError):
        return None
    return number if number >= 0 and number.bit_length() < 64 else None


def ratio(value: Any) -> float | None:
    """Read ``"16.56%"`` as 0.1656, and a plain number as it is; None where it is no number."""
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return None
    text = str(value).strip()
    try:
        number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
    except ValueError:
        return None
    # Removes what the division adds: 16.56 / 100 is 0.16559999999999997.
    return round(number, 10) if math.isfinite(number) else None


def whole(value: Any) -> int | None:
    """Read a number of things, such as ``120`` or ``"120"``; None where it is none."""
    number = None if isinstance(value, str) and value.strip().endswith("%") else ratio(value)
    return int(number) if number is not None and number == int(number) else None
