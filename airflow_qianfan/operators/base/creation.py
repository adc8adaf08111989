"""One creation: sending its request, finding again what it made, and what Airflow remembers of it."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from airflow_qianfan.compat import task_state_store
from airflow_qianfan.exceptions import QianfanAmbiguousCreateError
from airflow_qianfan.operators.base.origin import Origin

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.hooks.qianfan import QianfanHook

RETENTION = timedelta(days=365)
"""How long Airflow remembers what a task created."""

MAX_DESCRIBED = 20
"""How many objects to search for a mark where nothing tells which are new."""


class Creation:
    """An object that is created once: how, how it is found again, and whether it can be used.

    :param hook: the hook of the task.
    :param origin: which run creates it.
    :param kind: what is created.
    :param request: the request that creates it.
    :param owns_parent: whether what it belongs to is used by this origin only.
    """

    def __init__(
        self,
        hook: QianfanHook,
        origin: Origin,
        kind: type[RemoteObject],
        request: Any,
        *,
        owns_parent: bool = False,
    ) -> None:
        self.hook = hook
        self.origin = origin
        self.kind = kind
        self.request = request
        self.owns_parent = owns_parent
        #: What existed before the Create was sent, once it is about to be.
        self.before: list[str] | None = None
        #: Whether it was found although Airflow remembered nothing of it.
        self.found_without_record = False

    @property
    def what(self) -> str:
        """What it is, for a sentence."""
        if self.name is not None:
            return f"{self.kind.noun} {self.name}"
        where = f" in {getattr(self.request, self.kind.parent_member)}" if self.kind.parent_member else ""
        return f"{self.kind.noun}{where}"

    @property
    def name(self) -> str | None:
        """Its unique name; None where its kind has none."""
        if self.kind.recognised_by != "name":
            return None
        return str(getattr(self.request, self.kind.name_member))

    @property
    def _has_mark(self) -> bool:
        return "description" in type(self.request).model_fields

    def create(self) -> str:
        """Send the Create, and return the new id."""
        return str(getattr(self.hook.call(self.request), self.kind.id_member))

    def existing(self) -> list[str]:
        """Return the ids from which a new one has to be told apart."""
        if self.name is not None and self._has_mark:
            return []
        return [row.object_id for row in self._candidates()]

    def same_name(self) -> list[str]:
        """Return the ids of all that have the name, whoever created them."""
        return [row.object_id for row in self._candidates()]

    def find(self, before: Collection[str] | None) -> list[str]:
        """Return the ids of what this origin has created and can be used.

        :param before: what existed before the Create, which makes even what has failed meanwhile ours; None
            where that is not known, and only a name or a mark of our own is proof.
        :raises QianfanAmbiguousCreateError: something was created, but nothing tells by whom.
        """
        new = [row for row in self._candidates() if row.object_id not in (before or ())]
        if self.kind.recognised_by == "name":
            return [row.object_id for row in new if self._is_ours_by_name(row, before)]
        if self.kind.recognised_by == "mark":
            return self._find_marked(new, before)
        return self._find_new(new, before)

    def _candidates(self) -> list[RemoteObject]:
        rows = self.kind.candidates(self.hook.client, self.request)
        return [row for row in rows if self.name in (None, getattr(row, self.kind.name_member, None))]

    def _is_ours_by_name(self, row: RemoteObject, before: Collection[str] | None) -> bool:
        if self.name == self.origin.name:
            return True
        # Without a mark only the time at which it appeared is left.
        return self._is_marked(row) if self._has_mark else before is not None

    def _is_marked(self, row: RemoteObject) -> bool:
        return self.origin.marker in (getattr(row, "description", None) or "")

    def _find_marked(self, new: list[RemoteObject], before: Collection[str] | None) -> list[str]:
        marked, unmarked = [], []
        for row in islice(new, MAX_DESCRIBED if before is None else None):
            found: Any = (
                self.hook.call(self.kind.describe(row.object_id)) if self.kind.is_listed_by_id_only else row
            )
            if before is None and not _is_usable(found):
                continue
            if self._is_marked(found):
                marked.append(row.object_id)
            elif before is not None and found.description in (None, self.request.description):
                # Without a mark only the time at which it appeared is left.
                unmarked.append(row.object_id)
        return marked or unmarked

    def _find_new(self, new: list[RemoteObject], before: Collection[str] | None) -> list[str]:
        from airflow_qianfan.api.objects import Phase

        if before is not None:
            return [row.object_id for row in new if row.state.phase is not Phase.STOPPED]
        found = [row.object_id for row in new if _is_usable(row)]
        if found and not self.owns_parent:
            raise QianfanAmbiguousCreateError(
                f"an earlier attempt may have created {' or '.join(found)}; Airflow remembers nothing of it"
            )
        return found

    def is_usable(self, created_id: str) -> bool:
        """Return whether it can be used; False where it has failed or was stopped.

        :raises QianfanNotFoundError: it does not exist.
        """
        return _is_usable(self.hook.call(self.kind.describe(created_id)))


def _is_usable(found: Any) -> bool:
    from airflow_qianfan.api.objects import Phase, RemoteObject

    return not isinstance(found, RemoteObject) or found.state.phase in (Phase.ACTIVE, Phase.SUCCEEDED)


@dataclass
class Record:
    """What Airflow remembers: which generation, what existed before, and the id once it is known.

    ``unwatched`` says that the task failed although what it created may go on: even a cleared task attaches.
    """

    generation: int
    before: list[str] | None = None
    id: str | None = None
    unwatched: bool = False


class Memory:
    """The record of one creation in Airflow's task state store, which outlives retries and deferrals.

    :param context: context of the running task.
    :param key: under which key it is stored.
    """

    def __init__(self, context: Context, key: str) -> None:
        self._store: Any = task_state_store(context)
        self._key = key
        self._generation = Origin.of(context).generation

    @property
    def exists(self) -> bool:
        """Whether Airflow has a store at all."""
        return self._store is not None

    def read(self) -> Record:
        """Return the record of this generation, or one that was left unwatched; else an empty one."""
        stored = self._store.get(self._key) if self.exists else None
        if isinstance(stored, dict):
            unwatched = bool(stored.get("unwatched"))
            if unwatched or stored.get("generation") == self._generation:
                return Record(self._generation, stored.get("before"), stored.get("id"), unwatched)
        return Record(self._generation)

    def write(self, record: Record) -> None:
        """Store the record."""
        if self.exists:
            self._store.set(self._key, asdict(record), retention=RETENTION)
