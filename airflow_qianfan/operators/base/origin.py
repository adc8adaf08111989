"""Which run of which task creates something: its name, and the mark by which it is found again."""

from __future__ import annotations

import hashlib
import re
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import Context


@dataclass(frozen=True)
class Origin:
    """Which run of a task creates something. A retry has the same origin, a cleared task another.

    :param dag_id: DAG of the task.
    :param run_id: run of the DAG.
    :param task_id: the task.
    :param map_index: its index, -1 where it is not mapped.
    :param generation: how often it was cleared, as the highest number of tries tells: a retry leaves it as
        it is, a clear raises it.
    :param attempt: number of the attempt where each creates something of its own; 0 where they share it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    generation: int
    attempt: int = 0

    @classmethod
    def of(cls, context: Context, *, durable: bool = True) -> Origin:
        """Return the origin of the running task, or of this attempt alone where it is not durable."""
        ti: Any = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        attempt = 0 if durable else ti.try_number
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.max_tries, attempt)

    @property
    def digest(self) -> str:
        """12 characters that no other origin has."""
        text = "\n".join(str(value) for value in asdict(self).values())
        return hashlib.sha256(text.encode()).hexdigest()[:12]

    @property
    def name(self) -> str:
        """A name of at most 20 characters: the beginning of the DAG's id, readable, and the digest."""
        prefix = re.sub(r"[^a-z0-9]+", "_", self.dag_id.lower()).strip("_")[:7].strip("_") or "airflow"
        return f"{prefix}_{self.digest}"

    @property
    def marker(self) -> str:
        """What a description holds, so that the object is found again."""
        return f"[airflow:{self.digest}]"

    def describe(self, description: str | None, limit: int) -> str:
        """Return a description that leads back to Airflow.

        :param description: the user's own; its end gives way to the mark where there is no room for both.
        :param limit: how many characters are allowed.
        """
        room = limit - len(self.marker) - 1
        if description:
            # One that is too long by itself is left as it is, and refused with its name.
            return description if len(description) > limit else f"{description[:room].rstrip()} {self.marker}"
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        source = f"Airflow: {self.dag_id} / {self.run_id} / {self.task_id}{index}"
        return f"{source[:room]} {self.marker}"
