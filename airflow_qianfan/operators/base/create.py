"""Create once: submit, or attach to what an earlier attempt of the same task submitted.

What makes this safe is the order: what existed before is stored, then the Create is sent, then its id is
stored. An attempt that finds the first without the second looks for what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

from airflow_qianfan.arguments import option
from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanNotFoundError,
    QianfanRequestError,
    QianfanThrottledError,
)
from airflow_qianfan.operators.base.creation import Creation, Memory, Record
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.origin import Origin
from airflow_qianfan.settings import setting

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_qianfan.api.objects import RemoteObject

LOOKUPS = (0.0, 1 / 30, 2 / 30, 4 / 30, 8 / 30, 15 / 30)
"""Lists are eventually consistent: something is absent only after all these look-ups. Each is the pause
before one, as a share of ``[qianfan] settle_seconds``."""

FEW_LOOKUPS = LOOKUPS[:3]
"""The look-ups for what this task has not created itself, so that a mistyped id is told soon."""

MAX_SUBMITS = 3
"""How often a Create is sent in one attempt at most, after looking whether the one before took effect."""

MAX_THROTTLED_PAUSE = 60.0
"""Seconds to wait before a throttled Create is sent again; a service that asks for more gets no other."""

_STALE = (QianfanNotFoundError, QianfanRequestError)
"""Errors that stale reads return for new objects, or for a page that begins with one."""

FoundT = TypeVar("FoundT")


class QianfanCreateOperator(QianfanRequestOperator):
    """Creates an object, once for each run of the task, whatever crashes."""

    kind_path: ClassVar[str]
    """The kind of object, such as ``finetuning.FineTuningJob``."""

    durable: bool = option(
        "attach to what an earlier attempt of this task created instead of creating another. A task that was "
        "cleared creates anew.",
        default=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._killed = False

    @property
    def kind(self) -> type[RemoteObject]:
        """The kind of object."""
        from airflow_qianfan.api.actions import load

        kind: type[RemoteObject] = load(self.kind_path)
        return kind

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create it, and return its id.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        creation = self.make_creation(context)
        return self.created_output(creation, self.submit_or_attach(context, creation))

    def make_creation(self, context: Context) -> Creation:
        """Return what is to be created."""
        origin = Origin.of(context, durable=self.durable)
        return Creation(self.hook, origin, self.kind, self.make_create(origin, self.action, self.kind))

    def make_create(self, origin: Origin, action: str, kind: type[RemoteObject], **members: Any) -> Any:
        """Return the request that creates an object, with a name and a mark by which it is found again.

        :param origin: which run creates it.
        :param action: module and name of the request.
        :param kind: what is created.
        :param members: as for :meth:`make_request`.
        """
        arguments = type(self).arguments
        if kind.recognised_by == "name":
            members[kind.name_member] = getattr(self, kind.name_member) or origin.name
        if (description := arguments.get("description")) and description.length:
            members["description"] = origin.describe(
                getattr(self, "description", None), description.length[1]
            )
        return self.make_request(action, **members)

    def created_output(self, creation: Creation, created_id: str) -> dict[str, Any]:
        """Return the id of what was created, and its name or the id of what it belongs to."""
        kind, output = creation.kind, {creation.kind.id_name: created_id}
        if creation.name is not None:
            output[kind.name_member] = creation.name
        elif kind.parent_name is not None:
            output[kind.parent_name] = getattr(creation.request, kind.parent_member)
        return output

    @property
    def _settle_seconds(self) -> float:
        return setting("settle_seconds")

    def submit_or_attach(self, context: Context, creation: Creation, *, may_exist: bool = False) -> str:
        """Return the id of what is created, now or by an earlier attempt.

        :param creation: what to create.
        :param may_exist: look for it even where Airflow remembers no attempt.
        :raises QianfanAmbiguousCreateError: several objects could be the one that was created.
        """
        if not self.durable:
            return self._send(creation)
        memory = Memory(context, creation.kind.record_key)
        record = memory.read()
        try:
            record.id = self._attach_or_create(context, creation, memory, record, may_exist=may_exist)
        except QianfanError:
            # Whatever was created goes on. Even a task that is cleared now has to look for it.
            self.leave_unwatched(context, self.record_keys)
            raise
        memory.write(replace(record, unwatched=False))
        return record.id

    def _attach_or_create(
        self, context: Context, creation: Creation, memory: Memory, record: Record, *, may_exist: bool
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
        if record.before is not None or may_exist or (not memory.exists and ti.try_number > 1):
            created_id = self._find(creation, record.before, patient=True)
        if created_id is None:
            if record.before is None:
                lookups = LOOKUPS if creation.owns_parent else FEW_LOOKUPS
                record.before = self._read(creation, creation.existing, lookups)
                memory.write(replace(record, unwatched=False))
            created_id = self._create(creation, memory, record)
        return created_id

    def remembered_id(self, context: Context, key: str) -> str | None:
        """Return the id that an earlier attempt, or this one before it was deferred, has stored.

        :param key: see :attr:`RemoteObject.record_key`.
        """
        return Memory(context, key).read().id

    def leave_unwatched(self, context: Context, keys: Iterable[str]) -> None:
        """Let the next run of this task attach to what was created, even if it is cleared.

        :param keys: see :attr:`RemoteObject.record_key`.
        """
        for key in keys if self.durable else ():
            memory = Memory(context, key)
            record = memory.read()
            if record.before is not None or record.id is not None:
                memory.write(replace(record, unwatched=True))

    @property
    def record_keys(self) -> Collection[str]:
        """Under which keys Airflow remembers what this operator creates."""
        return (self.kind.record_key,)

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

    def _read(
        self, creation: Creation, read: Callable[[], FoundT], lookups: Collection[float] = LOOKUPS
    ) -> FoundT:
        """Read what may be too new for the first look-up."""
        stale: QianfanError | None = None
        for number, share in enumerate(lookups, 1):
            time.sleep(share * self._settle_seconds)
            try:
                return read()
            except _STALE as error:
                self.log.info("Look-up %d of %d for %s: %s", number, len(lookups), creation.what, error)
                stale = error
        raise stale or AssertionError("unreachable")

    def _is_usable(self, creation: Creation, created_id: str) -> bool:
        try:
            return self._read(creation, lambda: creation.is_usable(created_id))
        except QianfanNotFoundError:
            return False

    def _find(self, creation: Creation, before: Collection[str] | None, *, patient: bool) -> str | None:
        failure: QianfanError | None = None
        for share in LOOKUPS if patient else LOOKUPS[:1]:
            time.sleep(share * self._settle_seconds)
            try:
                found, failure = creation.find(before), None
            except QianfanError as error:
                if not (error.transient or isinstance(error, _STALE)):
                    raise
                self.log.warning("Look-up of %s failed: %s", creation.what, error)
                failure = error
                continue
            if len(found) > 1:
                raise QianfanAmbiguousCreateError(
                    f"{creation.what}: {', '.join(found)} could each be the one that this task created"
                )
            if found:
                self.log.info("Attached to %s %s, which exists already.", creation.what, found[0])
                creation.found_without_record = before is None
                return found[0]
        if failure is not None:
            # The last look-up decides, so the next attempt of this task has to look again.
            raise QianfanError(f"cannot tell whether {creation.what} exists: {failure}") from failure
        return None

    def _create(self, creation: Creation, memory: Memory, record: Record) -> str:
        creation.before = record.before
        was_lost = False
        for submits_left in reversed(range(MAX_SUBMITS)):
            try:
                return self._send(creation)
            except QianfanAmbiguousCreateError as error:
                self.log.warning("%s: %s. Looking whether it took effect.", error.action, error.message)
                was_lost = True
                found = self._find(creation, record.before, patient=True)
                if found is None and submits_left == 0:
                    # Where Airflow remembers, the next attempt of this task looks again before it creates.
                    raise (error.__cause__ if memory.exists and error.__cause__ else error) from None
            except QianfanError as error:
                pause = self._pause_before_repeat(error, submits_left)
                if pause is not None:
                    self.log.warning("%s: %s. Trying again in %.0f s.", error.action, error.message, pause)
                    time.sleep(pause)
                    continue
                found = self._find_refused(creation, error, was_lost=was_lost)
                if found is None:
                    if not was_lost:
                        # Nothing was created for certain, so the next attempt has nothing to look for.
                        record.before = None
                        memory.write(replace(record, unwatched=False))
                    raise
            if found is not None:
                return found
        raise AssertionError("unreachable")

    def _pause_before_repeat(self, error: QianfanError, submits_left: int) -> float | None:
        """Return the seconds after which a Create that was throttled may be sent again; None for never."""
        if not isinstance(error, QianfanThrottledError) or submits_left == 0:
            return None
        pause = error.retry_after or self._settle_seconds / (5 * submits_left)
        return pause if pause <= MAX_THROTTLED_PAUSE else None

    def _find_refused(self, creation: Creation, error: QianfanError, *, was_lost: bool) -> str | None:
        """Return the id of an object of ours that has the name, which may be why a Create was refused.

        :raises QianfanAlreadyExistsError: somebody else's has the name.
        """
        if creation.name is None or not isinstance(error, (QianfanRequestError, QianfanAlreadyExistsError)):
            return None
        # The name may be taken by a request of ours that nobody heard of.
        found = self._find(creation, None, patient=was_lost)
        if found is not None or isinstance(error, QianfanAlreadyExistsError):
            return found
        # Under which code the service refuses a duplicate is not documented.
        if others := creation.same_name():
            taken_by = f"{creation.kind.noun} {', '.join(others)}"
            raise QianfanAlreadyExistsError(
                f"the name {creation.name!r} is taken by {taken_by}: {error.message}",
                action=error.action,
                status_code=error.status_code,
                code=error.code,
                request_id=error.request_id,
            ) from error
        return None
