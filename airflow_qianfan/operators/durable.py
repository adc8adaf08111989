"""Create once: submit, or attach to what an earlier attempt of the same task submitted.

What makes this safe is the order: what existed before is stored, then the Create is sent, then its id is
stored. An attempt that finds the first without the second looks for what is new.
"""

from __future__ import annotations

import hashlib
import re
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import conf

from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanNotFoundError,
    QianfanRequestError,
    QianfanThrottledError,
)
from airflow_qianfan.operators.base import QianfanOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.hooks.qianfan import QianfanHook

LOOKS = (0.0, 1 / 30, 2 / 30, 4 / 30, 8 / 30, 15 / 30)
"""Pauses before the looks that it takes to believe that something does not exist, as shares of
``[qianfan] settle_seconds``: lists may lag behind."""

MAX_SUBMITS = 3
"""How often a Create is sent in one attempt at most, after looking whether the one before took effect."""

MAX_THROTTLED_PAUSE = 60.0
"""Seconds to wait before a throttled Create is sent again; a service that asks for more gets no other."""

RETENTION = timedelta(days=365)
"""How long Airflow remembers what a task created."""

_LAGS = (QianfanNotFoundError, QianfanRequestError)
# What a read that lags behind answers about something new, or about a page that begins with it.

SeenT = TypeVar("SeenT")


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


class Creation(ABC):
    """Something that is created once: how, how it is found again, and whether it can be used.

    :param hook: the hook of the task.
    :param origin: which run creates it.
    """

    key: str
    """Under which Airflow remembers it."""

    has_unique_name = False
    """Whether the service refuses a second one of the same name."""

    def __init__(self, hook: QianfanHook, origin: Origin) -> None:
        self.hook = hook
        self.origin = origin
        #: What existed before the Create was sent, once it is about to be.
        self.before: list[str] | None = None
        #: Whether it was found although Airflow remembered nothing of it.
        self.is_surprise = False

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

        :param before: what existed before the Create, which makes even what has failed meanwhile ours; None
            where that is not known, and only a name or a mark of our own is proof.
        """

    @abstractmethod
    def is_usable(self, created_id: str) -> bool:
        """Return whether it can be used; False where it has failed or was stopped.

        :raises QianfanNotFoundError: it does not exist.
        """


@dataclass
class _Record:
    """What Airflow remembers: which generation, what existed before, and the id once it is known.

    ``unwatched`` says that the task failed although what it created may go on: even a cleared task attaches.
    """

    generation: int
    before: list[str] | None = None
    id: str | None = None
    unwatched: bool = False


class _Memory:
    """The record of one creation in Airflow's task state store, which outlives retries and deferrals."""

    def __init__(self, context: Context, key: str, origin: Origin) -> None:
        self.store: Any = context.get("task_state_store")
        self._key = key
        self._generation = origin.generation

    def read(self) -> _Record:
        """Return the record of this generation, or one that was left unwatched; else an empty one."""
        stored = self.store.get(self._key) if self.store is not None else None
        if isinstance(stored, dict):
            unwatched = bool(stored.get("unwatched"))
            if unwatched or stored.get("generation") == self._generation:
                return _Record(self._generation, stored.get("before"), stored.get("id"), unwatched)
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

    creation_keys: Sequence[str] = ()
    """Under which keys Airflow remembers what is created, where it is more than one thing."""

    def __init__(self, *, durable: bool = True, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.durable = durable
        self._killed = False

    @property
    def _settle_seconds(self) -> float:
        return conf.getfloat("qianfan", "settle_seconds", fallback=30.0)

    def submit_or_attach(self, context: Context, creation: Creation, *, may_exist: bool = False) -> str:
        """Return the id of what is created, now or by an earlier attempt.

        :param creation: what to create.
        :param may_exist: look for it even where Airflow remembers no attempt.
        :raises QianfanAmbiguousCreateError: several objects could be the one that was created.
        """
        if not self.durable:
            return self._send(creation)
        memory = _Memory(context, creation.key, creation.origin)
        record = memory.read()
        try:
            record.id = self._attach_or_create(context, creation, memory, record, may_exist=may_exist)
        except QianfanError:
            # Whatever was created goes on. Even a task that is cleared now has to look for it.
            self.leave_unwatched(context, {creation.key, *self.creation_keys})
            raise
        memory.write(replace(record, unwatched=False))
        return record.id

    def _attach_or_create(
        self, context: Context, creation: Creation, memory: _Memory, record: _Record, *, may_exist: bool
    ) -> str:
        creation.before = record.before
        if record.id is not None:
            self.created(creation, record.id)
            if self._is_usable(creation, record.id):
                self.log.info("Attached to %s %s of an earlier attempt.", creation.what, record.id)
                return record.id
            self.log.info("%s %s of an earlier attempt is gone or has failed.", creation.what, record.id)
            self.created(creation, None)
            record.id = record.before = None
        created_id = None
        ti: Any = context["ti"]
        if record.before is not None or may_exist or (memory.store is None and ti.try_number > 1):
            created_id = self._find(creation, record.before, patient=True)
        if created_id is None:
            if record.before is None:
                record.before = self._read(creation.existing)
                memory.write(replace(record, unwatched=False))
            created_id = self._create(creation, record.before, remembered=memory.store is not None)
        return created_id

    def remembered_id(self, context: Context, key: str) -> str | None:
        """Return the id that an earlier attempt, or this one before it was deferred, has stored.

        :param key: see :attr:`Creation.key`.
        """
        return _Memory(context, key, Origin.of(context)).read().id

    def leave_unwatched(self, context: Context, keys: Iterable[str]) -> None:
        """Let the next run of this task attach to what was created, even if it is cleared.

        :param keys: see :attr:`Creation.key`.
        """
        for key in keys if self.durable else ():
            memory = _Memory(context, key, Origin.of(context))
            record = memory.read()
            if record.before is not None or record.id is not None:
                memory.write(replace(record, unwatched=True))

    def created(self, creation: Creation, created_id: str | None) -> None:
        """Take the id of what was created, before it is stored; None where it cannot be used after all."""

    def on_kill(self) -> None:
        """Create nothing any more: Airflow lets a killed task go on for some seconds."""
        self._killed = True

    def _send(self, creation: Creation) -> str:
        if self._killed:
            raise QianfanError(f"{creation.what} was not created, since this task was ended")
        created_id = creation.create()
        self.log.info("Created %s: %s.", creation.what, created_id)
        self.created(creation, created_id)
        return created_id

    def _read(self, read: Callable[[], SeenT]) -> SeenT:
        """Read what is new, perhaps too new for the first look."""
        lag: QianfanError | None = None
        for share in LOOKS:
            time.sleep(share * self._settle_seconds)
            try:
                return read()
            except _LAGS as error:
                self.log.info("%s", error)
                lag = error
        raise lag or AssertionError("unreachable")

    def _is_usable(self, creation: Creation, created_id: str) -> bool:
        try:
            return self._read(lambda: creation.is_usable(created_id))
        except QianfanNotFoundError:
            return False

    def _find(self, creation: Creation, before: Collection[str] | None, *, patient: bool) -> str | None:
        failure: QianfanError | None = None
        for share in LOOKS if patient else LOOKS[:1]:
            time.sleep(share * self._settle_seconds)
            try:
                found, failure = creation.find(before), None
            except QianfanError as error:
                if not (error.transient or isinstance(error, _LAGS)):
                    raise
                self.log.warning("Look failed: %s", error)
                failure = error
                continue
            if len(found) > 1:
                raise QianfanAmbiguousCreateError(
                    f"{creation.what}: {', '.join(found)} could each be the one that this task created"
                )
            if found:
                self.log.info("Attached to %s %s, which exists already.", creation.what, found[0])
                creation.is_surprise = before is None
                return found[0]
        if failure is not None:
            # The last look decides, so the next attempt of this task has to look again.
            raise QianfanError(f"cannot tell whether {creation.what} exists: {failure}") from failure
        return None

    def _create(self, creation: Creation, before: list[str], *, remembered: bool) -> str:
        creation.before = before
        was_lost = False
        for submits_left in reversed(range(MAX_SUBMITS)):
            try:
                return self._send(creation)
            except QianfanThrottledError as error:
                pause = error.retry_after or self._settle_seconds / (5 * submits_left or 1)
                if submits_left == 0 or pause > MAX_THROTTLED_PAUSE:
                    raise
                self.log.warning("%s: %s. Trying again in %.0f s.", error.action, error.message, pause)
                time.sleep(pause)
                continue
            except QianfanAmbiguousCreateError as error:
                self.log.warning("%s: %s. Looking whether it took effect.", error.action, error.message)
                was_lost = True
                found = self._find(creation, before, patient=True)
                if found is None and submits_left == 0:
                    # Where Airflow remembers, the next attempt of this task looks again before it creates.
                    raise (error.__cause__ if remembered and error.__cause__ else error) from None
            except (QianfanRequestError, QianfanAlreadyExistsError):
                # The name may be taken by a request of ours that nobody heard of.
                found = self._find(creation, None, patient=was_lost) if creation.has_unique_name else None
                if found is None:
                    raise
            if found is not None:
                return found
        raise AssertionError("unreachable")
