"""What a watcher of a model set remembers: which versions it has told, whoever published them.

Airflow offers no transaction for an event together with this memory. So a version is ``telling`` before its
event is sent, and ``told`` once Airflow has stored the event. An operator that publishes into a watched set
puts down a claim before it looks here, and the watcher looks for claims after it has written here: at least
one of them sees the other, and only one of them tells.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_qianfan.compat import Memory

VERSIONS = "versions"
"""Under which key :class:`Seen` is kept."""

MAX_GONE = 200
"""How many told versions are remembered that the set does not list any more: a list may lag behind."""


def claim_key(model_id: str) -> str:
    """Return under which key the task is kept that tells of a version.

    :param model_id: the version, ``amv-…``.
    """
    return f"claim_{model_id}"


@dataclass
class Seen:
    """The versions that are no news.

    :param told: their events are stored, or none was due: they existed at first, or have failed.
    :param telling: their events were sent.
    """

    told: list[str] = field(default_factory=list)
    telling: list[str] = field(default_factory=list)

    @classmethod
    def load(cls, stored: Any) -> Seen | None:
        """Return what was kept; None where nothing was."""
        if not isinstance(stored, dict):
            return None
        return cls(list(stored.get("told", ())), list(stored.get("telling", ())))

    @classmethod
    async def read(cls, memory: Memory) -> Seen | None:
        """Return what is kept; None where nothing is."""
        return cls.load(await memory.aget(VERSIONS))

    async def write(self, memory: Memory) -> None:
        """Keep it."""
        await memory.aset(VERSIONS, asdict(self))

    def is_news(self, model_id: str) -> bool:
        """Return whether a version was not told of."""
        return model_id not in self.told

    def settle(self, model_ids: Iterable[str]) -> None:
        """Take versions for told.

        :param model_ids: the versions.
        """
        for model_id in model_ids:
            self.withdraw(model_id)
            self.told.append(model_id)

    def withdraw(self, model_id: str) -> None:
        """Forget that the event of a version was about to be sent."""
        if model_id in self.telling:
            self.telling.remove(model_id)

    def forget_gone(self, listed: Iterable[str]) -> bool:
        """Forget the oldest versions that are not there any more; return whether there were any.

        :param listed: the versions that are.
        """
        there = set(listed)
        gone = [model_id for model_id in self.told if model_id not in there]
        dropped = set(gone[:-MAX_GONE])
        self.told = [model_id for model_id in self.told if model_id not in dropped]
        return bool(dropped)
