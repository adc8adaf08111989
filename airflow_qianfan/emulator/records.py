"""What the service remembers. The state of an object is computed from its times, never stored."""

from __future__ import annotations

import secrets
import string
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View


@dataclass(kw_only=True)
class Record:
    """Something that the service remembers. A subclass registers itself by its ``kind``.

    Times are seconds since the epoch.

    :param id: its id.
    :param created: when it was created.
    :param request: the body that created it.
    :param appears: when it is there for others to see; None for at once.
    """

    kinds: ClassVar[dict[str, type[Record]]] = {}
    """All classes of records by their kind."""

    kind: ClassVar[str]
    """Its name in the state file."""

    heading: ClassVar[str]
    """What the console calls objects of this kind."""

    columns: ClassVar[tuple[str, ...]]
    """The members that the console lists."""

    id: str
    created: float
    request: dict[str, Any] = field(default_factory=dict)
    appears: float | None = None

    def __init_subclass__(cls) -> None:
        if cls.kind in Record.kinds:
            raise TypeError(f"there are two kinds of records named {cls.kind!r}")
        Record.kinds[cls.kind] = cls

    def show(self, view: View) -> dict[str, Any]:
        """Return it as the service shows it."""
        raise NotImplementedError

    def console_path(self, view: View) -> str | None:
        """Return the path of its own page in the console, None if it has none."""
        return None


def new_id(prefix: str, length: int = 12) -> str:
    """Return a new id: prefix, hyphen and random characters.

    :param length: how many characters.
    """
    alphabet = string.ascii_lowercase + string.digits
    return f"{prefix}-" + "".join(secrets.choice(alphabet) for _ in range(length))


def china_time(timestamp: float) -> str:
    """Return a time stamp in the form of the model actions: Beijing time with its offset."""
    return time.strftime("%Y-%m-%dT%H:%M:%S+08:00", time.gmtime(timestamp + 8 * 3600))
