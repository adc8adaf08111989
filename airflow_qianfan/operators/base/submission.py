"""Create once: submit, or attach to what an earlier attempt of the same task submitted.

What makes this safe is the order: identity, digest and what existed before are stored, then the Create is
sent, then its id is stored. An attempt that finds the first without the last looks for what is new.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan.compat import AttemptReplaced
from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanNotFoundError,
    QianfanRequestError,
    QianfanThrottledError,
)
from airflow_qianfan.metrics import count_attached
from airflow_qianfan.operators.base import record as transitions
from airflow_qianfan.operators.base.creation import Creation
from airflow_qianfan.operators.base.lookup import FEW_LOOKUPS, LOOKUPS, look_up, read_settled
from airflow_qianfan.operators.base.origin import Origin, derived_identity
from airflow_qianfan.operators.base.record import Memory, OnClear, Record, Run, Step, Verdict
from airflow_qianfan.settings import setting
from airflow_qianfan.triggers.base.cancel import run_steps, stop_steps
from airflow_qianfan.triggers.base.polling import Target
from airflow_qianfan.triggers.base.progress import capitalised

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.objects import Phase, RemoteObject
    from airflow_qianfan.hooks.qianfan import QianfanHook

MAX_SUBMITS = 3
"""How often a Create is sent in one attempt at most, after looking whether the one before took effect."""

MAX_THROTTLED_PAUSE = 60.0
"""Seconds to wait before a throttled Create is sent again; a service that asks for more gets no other."""

STOP_SECONDS = 60.0
"""How long to poll whether an object that is to be replaced has ended."""


class Submission:
    """Creates an object once for each run of a task, or attaches to what an earlier attempt created.

    :param hook: the hook of the task.
    :param context: context of the running task.
    :param log: its log.
    :param kind: what is created.
    :param build: makes the request that creates it, with a name and a mark that lead back to an origin.
    :param durable: whether attempts of the same run share what is created.
    :param on_clear: ``attach`` to what still goes on after a clear, or ``restart``.
    :param owns_parent: whether what the object belongs to was created by this task and is used by no other.
    :param may_exist: look for it even where Airflow remembers no attempt.
    :param purpose: see :class:`Creation`.
    :param given: finds the id of one that was made together with what it belongs to, which is used unless
        this task has used one of the kind there already.
    :param on_created: told the id as soon as it is known, before it is stored.
    """

    def __init__(
        self,
        hook: QianfanHook,
        context: Context,
        log: Logger,
        kind: type[RemoteObject],
        build: Callable[[Origin], Any],
        *,
        durable: bool = True,
        on_clear: OnClear = "attach",
        owns_parent: bool = False,
        may_exist: bool = False,
        purpose: Any = None,
        given: Callable[[], str] | None = None,
        on_created: Callable[[str], None] = lambda object_id: None,
    ) -> None:
        self.kind = kind
        self.was_found = False
        self.is_forbidden = False
        self.record: Record | None = None
        self._hook = hook
        self._context = context
        self._log = log
        self._build = build
        self._durable = durable
        self._on_clear: OnClear = on_clear
        self._owns_parent = owns_parent
        self._may_exist = may_exist
        self._purpose = purpose
        self._given = given
        self._on_created = on_created
        self._run = Run.of(context)
        self._memory = Memory(context, kind.record_key)
        self.creation = self._creation("identity")

    def _creation(self, identity: str) -> Creation:
        origin = Origin.of(self._context, identity)
        request = self._build(origin)
        return Creation(
            self._hook, origin, self.kind, request, owns_parent=self._owns_parent, purpose=self._purpose
        )

    def submit(self) -> str:
        """Return the id of what is created, now or by an earlier attempt.

        :raises QianfanAmbiguousCreateError: several objects could be the one that was created.
        """
        if not self._durable:
            ti: Any = self._context["ti"]
            self.creation = self._creation(derived_identity(self._context, attempt=ti.try_number))
            return self._send() if self._given is None else self._given()
        record = self._read_record()
        self.creation = self._creation(record.identity)
        try:
            object_id = self._attach(record)
            return self._create() if object_id is None else object_id
        except AttemptReplaced as error:
            raise QianfanError(
                f"{self.creation.what} is left to a later attempt of this task, which has begun meanwhile"
            ) from error

    def _read_record(self) -> Record:
        record = self._memory.read()
        parent_id = self.creation.parent_id
        if self._given is not None and (record is None or record.parent_id != parent_id):
            record = transitions.given(self._run, self.creation.digest, self._given(), parent_id)
        if record is None:
            record = transitions.new(self._run, self.creation.digest)
            if not self._memory.exists:
                ti: Any = self._context["ti"]
                record = transitions.unstored(
                    record,
                    derived_identity(self._context),
                    self.creation.parent_id,
                    in_doubt=ti.try_number > 1 or self._may_exist,
                )
        self.record = record
        return record

    def _write(self, record: Record) -> None:
        self.record = record
        self._memory.write(record)

    # ------------------------------------------------------------------ what the task owns already

    def _attach(self, record: Record) -> str | None:
        """Return the id of what the task owns and can go on with; None where it has to create one."""
        from airflow_qianfan.api.objects import Phase

        step = transitions.first_step(record)
        if step is Step.LOOK_UP:
            found = self._look_up_doubt(record)
            if found is None:
                self._start_anew(record)
                return None
            record = transitions.created(record, found)
            self._write(record)
        elif step is Step.CREATE:
            self._start_anew(record)
            return None
        object_id = record.id or ""
        phase = self._phase_of(object_id)
        verdict = transitions.judge(
            record,
            self._run,
            self.creation.digest,
            phase,
            self._on_clear,
            has_own_name=self.creation.has_own_name,
            goes_on=self.kind.goes_on,
        )
        what = f"{self.kind.noun} {object_id}"
        if verdict is Verdict.ATTACH:
            self._write(transitions.adopted(record, self._run))
            self._on_created(object_id)
            self._log_attached(what, record, phase)
            count_attached(self.kind, "search" if step is Step.LOOK_UP else "record")
            return object_id
        if verdict is Verdict.STOP:
            self._stop(record, object_id)
        else:
            self._log.info("%s of an earlier attempt is not used again; creating another.", what.capitalize())
            if self.kind.goes_on and phase is Phase.SUCCEEDED:
                self._log.warning("The %s goes on, and costs money until you stop it.", what)
        self._start_anew(record, keep_identity=False)
        return None

    def _log_attached(self, what: str, record: Record, phase: Phase | None) -> None:
        from airflow_qianfan.api.objects import Phase

        cleared = transitions.is_clear(record, self._run)
        if cleared and self.creation.has_own_name:
            self._log.info("Attached to %s: its name leaves no room for another.", what)
        elif not cleared or self.kind.states is None:
            self._log.info("Attached to %s of an earlier attempt.", what)
        elif phase is Phase.ACTIVE or self.kind.goes_on:
            self._log.info(
                "Attached to %s, which still goes on with the same arguments. For a fresh one, stop it and "
                'clear the task again, or set on_clear="restart".',
                what,
            )
        else:
            self._log.info(
                "Attached to %s, whose result no attempt has taken yet. For a fresh one, clear the task "
                'again, or set on_clear="restart".',
                what,
            )

    def _start_anew(self, record: Record, *, keep_identity: bool = True) -> None:
        fresh = transitions.new(self._run, self.creation.digest)
        if keep_identity and record.digest == self.creation.digest:
            # What was looked for in vain, or never sent, may be sent under the same identity.
            fresh = transitions.again(fresh, record)
        elif not self._memory.exists:
            fresh = transitions.again(fresh, record)
        self.record = fresh
        self.creation = self._creation(fresh.identity)

    def _stop(self, record: Record, object_id: str) -> None:
        target = Target(self.kind, object_id)
        if self.kind.stop(object_id) is None:
            self._log.info("%s cannot be stopped; creating another.", capitalised(target.label))
            return
        self._log.info("Stopping %s of an earlier attempt before another is created.", target.label)
        self._write(transitions.stop_requested(record, self._run))
        run_steps(stop_steps(target), self._hook, seconds=STOP_SECONDS)
        self._write(transitions.delivered(record, self._run))

    def _look_up_doubt(self, record: Record) -> str | None:
        """Return the id of what an earlier attempt has made, of whose Create nobody knows the outcome."""
        from airflow_qianfan.api.objects import UNTOLD

        try:
            found = self._look_up(record.before, record.parent_id)
        except QianfanAmbiguousCreateError:
            cannot_tell = self.kind.recognised_by in UNTOLD
            if cannot_tell and self._on_clear == "restart" and transitions.is_clear(record, self._run):
                self._log.warning(
                    "%s may exist already; creating another, since the task was cleared with "
                    'on_clear="restart".',
                    self.creation.what.capitalize(),
                )
                return None
            raise
        if found is None and record.before is None:
            self.creation.check_name()
        return found

    def _phase_of(self, object_id: str) -> Phase | None:
        parent_id = self.record.parent_id if self.record else None
        try:
            return read_settled(
                lambda: self.creation.phase_of(object_id, parent_id), self.creation.what, self._log
            )
        except QianfanNotFoundError:
            return None

    def _look_up(
        self, before: Collection[str] | None, parent_id: str | None, lookups: Sequence[float] = LOOKUPS
    ) -> str | None:
        found = look_up(self.creation, self._log, before, parent_id, lookups)
        self.was_found = self.was_found or (found is not None and before is None)
        return found

    # ------------------------------------------------------------------ the Create

    def _announce(self) -> Record:
        """Store that a Create is about to be sent; Airflow refuses where a later attempt has begun."""
        record = self.record or transitions.new(self._run, self.creation.digest)
        before = record.before
        if before is None or not self._owns_parent:
            # Others may have created something since a Create before this one, which took no effect.
            lookups = LOOKUPS if self._owns_parent else FEW_LOOKUPS
            before = read_settled(self.creation.existing, self.creation.what, self._log, lookups)
        self._write(transitions.announced(record, before, self.creation.parent_id))
        return self.record or record

    def _create(self) -> str:
        was_lost = False
        for submits_left in reversed(range(MAX_SUBMITS)):
            record = self._announce()
            try:
                object_id = self._send()
            except QianfanAmbiguousCreateError as error:
                self._log.warning("%s: %s. Looking whether it took effect.", error.action, error.message)
                was_lost = True
                found = self._look_up(record.before, record.parent_id)
                if found is None and submits_left == 0:
                    # Where Airflow remembers, the next attempt of this task looks again before it creates.
                    raise (error.__cause__ if self._memory.exists and error.__cause__ else error) from None
            except QianfanError as error:
                pause = pause_before_repeat(error, submits_left)
                if pause is not None:
                    self._log.warning("%s: %s. Trying again in %.0f s.", error.action, error.message, pause)
                    time.sleep(pause)
                    continue
                found = self._find_refused(error, was_lost=was_lost)
                if found is None:
                    if not was_lost:
                        self._write(transitions.refused(record))
                    raise
            else:
                self._keep(record, object_id)
                return object_id
            if found is not None:
                self._on_created(found)
                self._write(transitions.created(record, found))
                count_attached(self.kind, "search")
                return found
        raise AssertionError("unreachable")

    def _send(self) -> str:
        if self.is_forbidden:
            raise QianfanError(f"{self.creation.what} was not created, since this task was ended")
        object_id = self.creation.create()
        self._log.info("Created %s: %s.", self.creation.what, object_id)
        self._on_created(object_id)
        return object_id

    def _keep(self, record: Record, object_id: str) -> None:
        """Store the id; where Airflow has given up this attempt, undo what a later one has made as well."""
        try:
            self._write(transitions.created(record, object_id))
        except AttemptReplaced:
            self._undo_if_doubled(record, object_id)
            raise

    def _undo_if_doubled(self, record: Record, object_id: str) -> None:
        label = f"{self.kind.noun} {object_id}"
        time.sleep(setting("settle_seconds") / 10)
        others = self.creation.others(object_id, record.before or ())
        if not others:
            self._log.warning("A later attempt of this task has begun; %s is left to it.", label)
            return
        undo = self.kind.discard(object_id)
        if undo is None or not (self._owns_parent or self.kind.recognised_by == "mark"):
            self._log.error(
                "A later attempt of this task has begun, and %s may be one too many beside %s: look in "
                "the console.",
                label,
                ", ".join(others),
            )
            return
        self._log.warning("A later attempt has created %s; discarding %s.", ", ".join(others), label)
        self._hook.call(undo)

    def _find_refused(self, error: QianfanError, *, was_lost: bool) -> str | None:
        """Return the id of an object of ours that has the name, which may be why a Create was refused.

        :raises QianfanAlreadyExistsError: somebody else's has the name.
        """
        creation = self.creation
        if creation.name is None or not isinstance(error, (QianfanRequestError, QianfanAlreadyExistsError)):
            return None
        # The name may be taken by a request of ours that nobody heard of.
        found = self._look_up(None, creation.parent_id, LOOKUPS if was_lost else LOOKUPS[:1])
        if found is not None:
            return found
        # Under which code the service refuses a duplicate is not documented.
        if others := creation.same_name():
            taken_by = f"{self.kind.noun} {', '.join(others)}"
            taken = QianfanAlreadyExistsError(
                f"the name {creation.name!r} is taken by {taken_by}: {error.message}",
                action=error.action,
                status_code=error.status_code,
                code=error.code,
                request_id=error.request_id,
            )
            taken.subject = error.subject
            raise taken from error
        return None


def pause_before_repeat(error: QianfanError, submits_left: int) -> float | None:
    """Return the seconds after which a Create that was throttled may be sent again; None for never."""
    if not isinstance(error, QianfanThrottledError) or submits_left == 0:
        return None
    pause = error.retry_after or setting("settle_seconds") / (5 * submits_left)
    return pause if pause <= MAX_THROTTLED_PAUSE else None
