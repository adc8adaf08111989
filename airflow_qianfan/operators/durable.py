"""Create once: submit, or attach to what an earlier attempt of the same task submitted.

What makes this safe is the order: what existed before is stored, then the Create is sent, then its id is
stored. An attempt that finds the first without the second looks for what is new.
"""

from __future__ import annotations

import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Collection
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanNotFoundError,
    QianfanRequestError,
)
from airflow_qianfan.operators.base import QianfanOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.hooks.qianfan import QianfanHook

SETTLE = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between the looks that it takes to believe that something does not exist: lists may lag behind."""

MAX_SUBMITS = 3
"""How often a Create is sent in one attempt at most, after looking whether the one before took effect."""

RETENTION = timedelta(days=365)
"""How long Airflow remembers what a task created."""


@dataclass(frozen=True)
class Origin:
    """Which run of a task creates something. A retry has the same origin, a cleared task another.

    :param dag_id: DAG of the task.
    :param run_id: run of the DAG.
    :param task_id: the task.
    :param map_index: its index, -1 where it is not mapped.
    :param generation: how often it was cleared, as the highest number of tries tells: a retry leaves it as
        it is, a clear raises it.
    """

    dag_id: str
    run_id: str
    task_id: str
    map_index: int
    generation: int

    @classmethod
    def of(cls, context: Context) -> Origin:
        """Return the origin of the running task."""
        ti: Any = context["ti"]
        map_index = -1 if ti.map_index is None else ti.map_index
        return cls(ti.dag_id, ti.run_id, ti.task_id, map_index, ti.max_tries)

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

        :param description: the user's own; the marker is added where it fits.
        :param limit: how many characters are allowed.
        """
        if description:
            marked = f"{description} {self.marker}"
            return marked if len(marked) <= limit else description
        index = f"[{self.map_index}]" if self.map_index >= 0 else ""
        source = f"Airflow: {self.dag_id} / {self.run_id} / {self.task_id}{index}"
        return f"{source[: limit - len(self.marker) - 1]} {self.marker}"


class Creation(ABC):
    """Something that is created once: how, how it is found again, and whether it can be used.

    :param hook: the hook of the task.
    :param origin: which run creates it.
    """

    key: str
    """Under which Airflow remembers it."""

    def __init__(self, hook: QianfanHook, origin: Origin) -> None:
        self.hook = hook
        self.origin = origin

    @property
    @abstractmethod
    def what(self) -> str:
        """What it is, for a sentence."""

    @abstractmethod
    def create(self) -> str:
        """Send the Create, and return the new id."""

    @abstractmethod
    def existing(self) -> list[str]:
        """Return the ids from which a new one has to be told apart."""

    @abstractmethod
    def find(self, before: Collection[str] | None) -> list[str]:
        """Return the ids of what this origin has created and can be used.

        :param before: what existed before the Create; None where that is not known, and only a name or a mark
            of our own is proof.
        """

    @abstractmethod
    def is_usable(self, created_id: str) -> bool:
        """Return whether it can be used; False where it has failed or was stopped.

        :raises QianfanNotFoundError: it does not exist.
        """


@dataclass
class _Record:
    """What Airflow remembers: which generation, what existed before, and the id once it is known."""

    generation: int
    before: list[str] | None = None
    id: str | None = None


class _Memory:
    """The record of one creation in Airflow's task state store, which outlives retries and deferrals."""

    def __init__(self, context: Context, creation: Creation) -> None:
        self.store: Any = context.get("task_state_store")
        self._key = creation.key
        self._generation = creation.origin.generation

    def read(self) -> _Record:
        """Return the record of this generation, an empty one where there is none."""
        stored = self.store.get(self._key) if self.store is not None else None
        if isinstance(stored, dict) and stored.get("generation") == self._generation:
            return _Record(self._generation, stored.get("before"), stored.get("id"))
        return _Record(self._generation)

    def write(self, record: _Record) -> None:
        """Store the record."""
        if self.store is not None:
            self.store.set(self._key, asdict(record), retention=RETENTION)


class QianfanCreateOperator(QianfanOperator):
    """Creates something, once for each run of the task, whatever crashes.

    :param durable: attach to what an earlier attempt of this task created instead of creating another. A task
        that was cleared creates anew.
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanOperator`.
    """

    def __init__(self, *, durable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.durable = durable
        self._pending: tuple[Creation, list[str]] | None = None

    def submit_or_attach(
        self, context: Context, creation: Creation, *, may_exist: bool = False
    ) -> tuple[str, bool]:
        """Return the id of what is created, and whether an earlier attempt created it.

        :param creation: what to create.
        :param may_exist: look for it even where nothing tells of an earlier attempt.
        :raises QianfanAmbiguousCreateError: several objects could be the one that was created.
        """
        if not self.durable:
            return creation.create(), False
        memory = _Memory(context, creation)
        record = memory.read()
        ti: Any = context["ti"]
        found = None
        if record.id is not None:
            if self._is_usable(creation, record.id):
                self.log.info("Attached to %s %s of an earlier attempt.", creation.what, record.id)
                return record.id, True
            self.log.info("%s %s of an earlier attempt is gone or has failed.", creation.what, record.id)
            record = _Record(record.generation)
        elif record.before is not None or may_exist or (memory.store is None and ti.try_number > 1):
            found = self._find(creation, record.before, patient=True)
        attached = found is not None
        if found is None:
            if record.before is None:
                record.before = creation.existing()
                memory.write(record)
            self._pending = (creation, record.before)
            found = self._create(creation, record.before, may_try_again=memory.store is not None)
        self.log.info("%s %s: %s.", "Attached to" if attached else "Created", creation.what, found)
        record.id = found
        memory.write(record)
        self._pending = None
        return found, attached

    def _is_usable(self, creation: Creation, created_id: str) -> bool:
        for delay in (0.0, *SETTLE):
            time.sleep(delay)
            try:
                return creation.is_usable(created_id)
            except QianfanNotFoundError as error:
                self.log.info("%s", error)
        return False

    def _find(self, creation: Creation, before: Collection[str] | None, *, patient: bool) -> str | None:
        for delay in (0.0, *SETTLE) if patient else (0.0,):
            time.sleep(delay)
            found = creation.find(before)
            if len(found) > 1:
                raise QianfanAmbiguousCreateError(
                    f"{creation.what}: {', '.join(found)} could each be the one that this task created"
                )
            if found:
                return found[0]
        return None

    def _create(self, creation: Creation, before: list[str], *, may_try_again: bool) -> str:
        for submits_left in reversed(range(MAX_SUBMITS)):
            try:
                return creation.create()
            except QianfanAmbiguousCreateError as error:
                self.log.warning("%s", error)
                found = self._find(creation, before, patient=True)
                if found is None and submits_left == 0:
                    # Where Airflow remembers, the next attempt of this task looks again before it creates.
                    raise (error.__cause__ if may_try_again and error.__cause__ else error) from None
            except (QianfanRequestError, QianfanAlreadyExistsError):
                # The name may be taken by a request of ours that nobody heard of.
                found = self._find(creation, before, patient=False)
                if found is None:
                    raise
            if found is not None:
                return found
        raise AssertionError("unreachable")
