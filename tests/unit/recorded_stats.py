"""What Airflow's metrics are told, kept in a list."""

from __future__ import annotations

from typing import Any


class RecordedStats:
    """Stands in for Airflow's metrics."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, float | None, dict[str, str]]] = []

    def incr(self, stat: str, *, tags: dict[str, str] | None = None) -> None:
        self.told.append(("incr", stat, None, tags or {}))

    def gauge(self, stat: str, value: float, *, tags: dict[str, str] | None = None) -> None:
        self.told.append(("gauge", stat, value, tags or {}))

    def timing(self, stat: str, dt: float, *, tags: dict[str, str] | None = None) -> None:
        self.told.append(("timing", stat, dt, tags or {}))

    def timer(self, stat: str) -> None:
        """As Airflow's, it sends nothing until it is started."""

    def counts(self, stat: str) -> list[tuple[str, ...]]:
        """Return the values of the tags with which a metric was told, in order."""
        return [tuple(tags.values()) for _, name, _, tags in self.told if name == f"qianfan.{stat}"]

    def values(self, stat: str) -> list[Any]:
        """Return the values that a metric was told, in order."""
        return [value for _, name, value, _ in self.told if name == f"qianfan.{stat}"]
