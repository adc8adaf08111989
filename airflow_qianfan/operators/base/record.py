"""What Airflow remembers of one creation, and what an attempt does about it: a small state machine.

docs/ownership.md draws it. Each transition is one function below; nothing else changes a record.
"""

from __future__ import annotations

import secrets
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.compat import AttemptReplaced, task_state_store

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import Phase

RETENTION = timedelta(days=365)
"""How long Airflow remembers what a task created."""

OnClear = Literal["attach", "restart"]


@dataclass(frozen=True)
class Run:
    """Which run of a task this is.

    :param generation: the task's highest number of tries: a retry leaves it as it is, a clear raises it
        unless ``retries`` was lowered in between.
    :param clears: how often the DAG run was cleared, whichever of its tasks.
    """

    generation: int
    clears: int

    @classmethod
    def of(cls, context: Context) -> Run:
        """Return the run of the running task."""
        ti: Any = context["ti"]
        return cls(ti.max_tries, getattr(context.get("dag_run"), "clear_number", None) or 0)


@dataclass(frozen=True)
class Record:
    """One creation.

    :param identity: random, so that no other deployment or DAG run has it; name and mark are made from it.
    :param digest: of the request.
    :param generation: see :class:`Run`.
    :param clears: see :class:`Run`.
    :param parent_id: what the object belongs to.
    :param before: what existed before the Create was sent.
    :param in_doubt: whether a Create may have been sent whose outcome nobody knows.
    :param id: what was created, once that is known.
    :param is_stopping: whether it was told to stop, and its end was not verified.
    :param is_delivered: whether the task has handed over its result, or seen its end.
    """

    identity: str
    digest: str
    generation: int
    clears: int
    parent_id: str | None = None
    before: list[str] | None = None
    in_doubt: bool = False
    id: str | None = None
    is_stopping: bool = False
    is_delivered: bool = False

    @classmethod
    def load(cls, stored: Any) -> Record | None:
        """Return a record as it was stored; None where it is none, or of a version that stored less."""
        if not isinstance(stored, dict):
            return None
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in stored.items() if name in known})
        except TypeError:
            return None


def new(run: Run, digest: str) -> Record:
    """Nothing is owned yet."""
    return Record(secrets.token_hex(6), digest, run.generation, run.clears)


def given(run: Run, digest: str, object_id: str, parent_id: str | None) -> Record:
    """It came with what it belongs to."""
    return replace(new(run, digest), id=object_id, parent_id=parent_id)


def unstored(record: Record, identity: str, parent_id: str | None, *, in_doubt: bool) -> Record:
    """Nothing is remembered, since Airflow has no store: the identity is derived."""
    return replace(record, identity=identity, parent_id=parent_id, in_doubt=in_doubt)


def again(record: Record, earlier: Record) -> Record:
    """What an earlier attempt did not get done is tried under its identity, since nothing has it yet."""
    return replace(record, identity=earlier.identity, before=earlier.before, parent_id=earlier.parent_id)


def announced(record: Record, before: list[str], parent_id: str | None) -> Record:
    """A Create is about to be sent."""
    return replace(record, before=before, parent_id=parent_id, in_doubt=True, id=None)


def refused(record: Record) -> Record:
    """The Create has certainly not taken effect."""
    return replace(record, before=None, in_doubt=False)


def created(record: Record, object_id: str) -> Record:
    """What was created is known."""
    return replace(record, id=object_id, in_doubt=False)


def adopted(record: Record, run: Run) -> Record:
    """A later run of the task takes over what an earlier one created."""
    return replace(record, generation=run.generation, clears=run.clears, is_delivered=False)


def stop_requested(record: Record, run: Run) -> Record:
    """The object was told to stop."""
    return replace(record, is_stopping=True)


def delivered(record: Record, run: Run) -> Record:
    """The result was handed over, or the end was seen."""
    return replace(record, generation=run.generation, clears=run.clears, is_stopping=False, is_delivered=True)


class Step(Enum):
    """What an attempt does first."""

    CREATE = "nothing is owned"
    LOOK_UP = "a Create is in doubt"
    INSPECT = "an object is owned"


def first_step(record: Record) -> Step:
    """Return what an attempt that finds a record does first."""
    if record.id is not None:
        return Step.INSPECT
    return Step.LOOK_UP if record.in_doubt else Step.CREATE


class Verdict(Enum):
    """What an attempt does with an object that the task owns."""

    ATTACH = "attach to it"
    STOP = "stop it, and create another"
    REPLACE = "create another"


def is_clear(record: Record, run: Run) -> bool:
    """Return whether somebody has cleared the task since."""
    if record.is_delivered:
        return run.generation != record.generation or run.clears != record.clears
    # Another task of the DAG run may have been cleared; what was not delivered is attached to either way.
    return run.generation != record.generation


def judge(
    record: Record,
    run: Run,
    digest: str,
    phase: Phase | None,
    on_clear: OnClear,
    *,
    has_own_name: bool = False,
    goes_on: bool = False,
) -> Verdict:
    """Return what an attempt does with the object that a record names.

    :param record: what Airflow remembers.
    :param run: which run of the task this is.
    :param digest: of the request as it is now.
    :param phase: what the object's state means; None where it does not exist any more.
    :param on_clear: what a user wants of a clear.
    :param has_own_name: whether the user has named it, so that there can be no other beside it.
    :param goes_on: whether such an object goes on once it has succeeded, as a service does.
    """
    from airflow_qianfan.api.objects import Phase

    if goes_on and phase is Phase.SUCCEEDED:
        if record.is_delivered and record.digest != digest and on_clear == "attach":
            # Somebody may rely on it: it is left alone unless a user asks for a restart.
            return Verdict.REPLACE
        phase = Phase.ACTIVE

    cleared = is_clear(record, run)
    is_wanted = record.digest == digest and not (cleared and on_clear == "restart")
    if phase is Phase.ACTIVE:
        return Verdict.ATTACH if is_wanted and not record.is_stopping else Verdict.STOP
    if phase is Phase.SUCCEEDED and is_wanted and not (cleared and record.is_delivered):
        return Verdict.ATTACH
    if phase is Phase.SUCCEEDED and record.digest == digest and has_own_name:
        return Verdict.ATTACH
    return Verdict.REPLACE


class Memory:
    """The record of one creation in Airflow's task state store, which outlives retries, deferrals and clears.

    :param context: context of the running task.
    :param key: under which key it is stored.
    """

    def __init__(self, context: Context, key: str) -> None:
        self._store: Any = task_state_store(context)
        self._key = key

    @property
    def exists(self) -> bool:
        """Whether Airflow has a store at all."""
        return self._store is not None

    def read(self) -> Record | None:
        """Return the record, if there is one."""
        return Record.load(self._store.get(self._key)) if self.exists else None

    def write(self, record: Record) -> None:
        """Store the record.

        :raises AttemptReplaced: Airflow has given up this attempt, and a later one has begun.
        """
        if self.exists:
            with AttemptReplaced.told_by_airflow():
                self._store.set(self._key, asdict(record), retention=RETENTION)
