"""What a watcher of a model set remembers: which versions it has told, whoever published them.

Airflow offers no transaction for an event together with this memory. So a version is ``telling`` before its
event is sent, and ``told`` once Airflow has stored the event. An operator that publishes into a watched set
puts down a claim before it looks here, and the watcher looks for claims after it has written here: at least
one of them sees the other, and only one of them tells.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from airflow_qianfan.compat.assets import Memory

VERSIONS = "versions"
"""Under which key :class:`Seen` is kept."""

TELLING_SECONDS = 30.0
"""For how long another triggerer that is about to send an event is left alone."""

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
    :param telling: when, in seconds since the epoch, their events were about to be sent.
    """

    told: list[str] = field(default_factory=list)
    telling: dict[str, float] = field(default_factory=dict)

    @classmethod
    def load(cls, stored: Any) -> Seen | None:
        """Return what was kept; None where nothing was."""
        if not isinstance(stored, dict):
            return None
        return cls(list(stored.get("told", ())), dict(stored.get("telling", {})))

    @classmethod
    async def read(cls, memory: Memory) -> Seen | None:
        """Return what is kept; None where nothing is."""
        return cls.load(await memory.aget(VERSIONS))

    async def write(self, memory: Memory) -> None:
        """Keep it."""
        await memory.aset(VERSIONS, asdict(self))

    def is_news(self, model_id: str) -> bool:
        """Return whether a version is to be told of: it was not, and nobody else is about to.

        :param model_id: the version.
        """
        begun = self.telling.get(model_id)
        return model_id not in self.told and (begun is None or time.time() - begun > TELLING_SECONDS)

    def settle(self, model_ids: Iterable[str]) -> None:
        """Take versions for told.

        :param model_ids: the versions.
        """
        for model_id in model_ids:
            self.telling.pop(model_id, None)
            self.told.append(model_id)

    def forget_gone(self, listed: Iterable[str]) -> bool:
        """Forget the oldest versions that are not there any more; return whether there were any.

        :param listed: the versions that are.
        """
        there = set(listed)
        gone = [model_id for model_id in self.told if model_id not in there]
        dropped = set(gone[:-MAX_GONE])
        self.told = [model_id for model_id in self.told if model_id not in dropped]
        return bool(dropped)
