"""What leads back from an object at Qianfan to the task that has created it: its name, and a mark."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_qianfan.settings import deployment

if TYPE_CHECKING:
    from airflow.sdk import Context


UNSTATED_LIMIT = 200
"""Characters of a description that we write ourselves where no limit is documented."""


@dataclass(frozen=True)
class Origin:
    """Which task creates something, and under which identity.

    :param dag_id: DAG of the task.
    :param run_id: run of the DAG.
    :param task_id: the task.
    :param map_index: its index, -1 where it is not mapped.
    :param identity: 12 characters that no other creation has.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    identity: str

    @classmethod
    def of(cls, context: Context, identity: str) -> Origin:
        """Return the origin of what the running task creates."""
        ti: Any = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, identity)

    @property
    def name(self) -> str:
        """A name of at most 20 characters: the beginning of the DAG's id, readable, and the identity."""
        prefix = re.sub(r"[^a-z0-9]+", "_", self.dag_id.lower()).strip("_")[:7].strip("_") or "airflow"
        return f"{prefix}_{self.identity}"

    @property
    def marker(self) -> str:
        """What a description holds, so that the object is found again."""
        return f"[airflow:{self.identity}]"

    def describe(self, description: str | None, limit: int | None) -> str:
        """Return a description that leads back to Airflow.

        :param description: the user's own; its end gives way to the mark where there is no room for both.
        :param limit: how many characters are allowed; None where no limit is documented.
        """
        if limit is None:
            limit = max(UNSTATED_LIMIT, len(description or "") + len(self.marker) + 1)
        room = limit - len(self.marker) - 1
        if description:
            # One that is too long by itself is left as it is, and refused with its name.
            return description if len(description) > limit else f"{description[:room].rstrip()} {self.marker}"
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        source = f"Airflow: {self.dag_id} / {self.run_id} / {self.task_id}{index}"
        return f"{source[:room]} {self.marker}"


def derived_identity(context: Context, *, attempt: int = 0) -> str:
    """Return an identity that every attempt of the same run of a task derives, where nothing can be stored.

    :param context: context of the running task.
    :param attempt: number of the attempt where each creates something of its own; 0 where they share it.
    """
    ti: Any = context["ti"]
    map_index = -1 if ti.map_index is None else ti.map_index
    parts = (deployment(), ti.dag_id, ti.run_id, ti.task_id, map_index, ti.max_tries, attempt)
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]
