"""Brings a service to another model version, and back.

As with a creation the order makes this safe: the version before is stored, then the update is ordered. So a
later attempt never takes the new version for the one before.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, fields, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.compat import AttemptReplaced, task_state_store
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanOperationFailedError,
    QianfanRequestError,
    QianfanTerminalStateError,
    QianfanThrottledError,
    QianfanUpdateError,
)
from airflow_qianfan.operators.base.lookup import LOOKUPS
from airflow_qianfan.operators.base.record import RETENTION
from airflow_qianfan.operators.base.submission import pause_before_repeat
from airflow_qianfan.settings import setting
from airflow_qianfan.triggers.base.polling import PollSettings, Target, output_of, wait_on_worker
from airflow_qianfan.triggers.base.progress import capitalised

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.service import Service
    from airflow_qianfan.hooks.qianfan import QianfanHook

KEY = "qianfan_service_update"
"""Under which key Airflow remembers an update."""

PREVIOUS = ("previous_model_set_id", "previous_model_id")

UPDATING_READS = 3
"""In how many reads in a row an update has to be shown: its words are not documented, so that a word which
nobody knows may mean anything else."""

MAX_ORDERS = 3
"""How often an update is ordered in one attempt at most, after looking whether the one before took effect."""

ROLL_BACK_SECONDS = 900.0
"""How long to wait for the version before to serve again."""

Stage = Literal["updating", "done", "rolling back", "rolled back"]


@dataclass(frozen=True)
class Update:
    """What Airflow remembers of an update.

    :param service_id: the service.
    :param model_set_id: model set of the version that it is to serve.
    :param model_id: that version.
    :param previous_model_set_id: model set of the version before.
    :param previous_model_id: that version; None where nobody knows.
    :param stage: how far it is. Each is stored before the order that makes it true is sent.
    """

    service_id: str
    model_set_id: str
    model_id: str
    previous_model_set_id: str | None = None
    previous_model_id: str | None = None
    stage: Stage = "updating"

    @classmethod
    def load(cls, stored: Any) -> Update | None:
        """Return an update as it was stored; None where it is none."""
        if not isinstance(stored, dict):
            return None
        known = {field.name for field in fields(cls)}
        try:
            return cls(**{name: value for name, value in stored.items() if name in known})
        except TypeError:
            return None


def version_before(
    wanted: Update, served: tuple[str | None, str | None], earlier: Update | None, *, may_be_ours: bool
) -> Update:
    """Return an update with the version to which it can be taken back.

    :param wanted: the update.
    :param served: model set and version that the service shows now.
    :param earlier: what an earlier attempt or run of the task has stored.
    :param may_be_ours: whether an earlier attempt may have made an update of which nothing is stored.
    """
    model_set_id, model_id = served
    if earlier is not None and earlier.service_id == wanted.service_id and earlier.stage != "rolled back":
        # What an update of ours made is not the version before it, unless it was handed over as a result.
        is_same = earlier.model_id == wanted.model_id
        if model_id == earlier.model_id and (is_same or earlier.stage != "done"):
            model_set_id, model_id = earlier.previous_model_set_id, earlier.previous_model_id
    elif may_be_ours and model_id == wanted.model_id:
        model_set_id, model_id = None, None
    return replace(wanted, previous_model_set_id=model_set_id, previous_model_id=model_id)


class ServiceUpdate:
    """Brings a service to another model version, once for each run of a task.

    :param hook: the hook of the task.
    :param context: context of the running task.
    :param log: its log.
    :param wanted: service and version.
    :param durable: whether attempts of the same run share what is stored.
    """

    def __init__(
        self, hook: QianfanHook, context: Context, log: Logger, wanted: Update, *, durable: bool = True
    ) -> None:
        from airflow_qianfan.api.actions import load

        self.is_forbidden = False
        self._kind: type[Service] = load("service.Service")
        self._hook = hook
        self._log = log
        self._ti: Any = context["ti"]
        self._store: Any = task_state_store(context) if durable else None
        self._may_be_ours = durable and self._store is None and self._ti.try_number > 1
        self.update = wanted

    @property
    def _target(self) -> Target:
        return Target(self._kind, self.update.service_id)

    def begin(self, *, must_know_version: bool) -> None:
        """Order the update, unless an earlier attempt has done so.

        :param must_know_version: fail where the version before cannot be told.
        :raises QianfanUpdateError: it cannot be updated.
        :raises QianfanTerminalStateError: it does not serve any more.
        """
        from airflow_qianfan.api.objects import Phase

        earlier = self._read()
        if earlier is not None and earlier.stage == "rolling back":
            self.update = earlier
            self.roll_back()
            raise QianfanUpdateError(
                f"an earlier attempt began to take {self._target.label} back: it serves "
                f"{earlier.previous_model_id} again. Clear the task to try once more"
            )
        found = self.describe()
        if found.state.phase in (Phase.FAILED, Phase.STOPPED):
            raise QianfanTerminalStateError(f"{found.label} is {found.status}", state=found.status)
        wanted = self.update
        is_ours = self._may_be_ours or (earlier is not None and _is_same(earlier, wanted))
        if not found.is_updating and found.state.phase is not Phase.SUCCEEDED:
            raise QianfanError(f"{found.label} is still {found.state.shown}; only one that serves is updated")
        if found.is_updating and not is_ours:
            raise QianfanError(f"another update of {found.label} goes on")
        served = (found.model_set_id, found.model_id)
        if found.is_updating and earlier is not None:
            # Which version it shows meanwhile is not documented.
            served = (earlier.model_set_id, earlier.model_id)
        self.update = version_before(wanted, served, earlier, may_be_ours=self._may_be_ours)
        if must_know_version and self.update.previous_model_id is None:
            raise QianfanUpdateError(
                f"nobody can tell which version {found.label} served before, to take it back to that"
            )
        self._write("updating")
        if found.model_id == wanted.model_id:
            self._log.info("%s serves %s already.", capitalised(found.label), wanted.model_id)
        elif found.is_updating and self._has_begun(wanted.model_id):
            self._log.info("An update of %s by an earlier attempt goes on.", found.label)
        else:
            self._order(wanted.model_set_id, wanted.model_id)

    def resume(self) -> None:
        """Take over what was known before this task was deferred."""
        earlier = self._read()
        if earlier is not None and _is_same(earlier, self.update):
            self.update = earlier
        elif self._store is None:
            ti = self._ti
            known = {
                name: ti.xcom_pull(task_ids=ti.task_id, key=name, map_indexes=ti.map_index)
                for name in PREVIOUS
            }
            self.update = replace(self.update, **known)

    def tell(self) -> None:
        """Make the ids XComs of the task."""
        for name in ("service_id", "model_id", *PREVIOUS):
            self._ti.xcom_push(key=name, value=getattr(self.update, name))

    def describe(self) -> Service:
        """Read the service."""
        found: Service = self._hook.call(self._kind.describe(self.update.service_id))
        return found

    def served(self, model_id: str) -> Service:
        """Return the service once it shows a version, or that an update goes on.

        :raises QianfanUpdateError: it shows another version, also after the time that reads may lag behind.
        """
        found = None
        for share in LOOKUPS:
            time.sleep(share * setting("settle_seconds"))
            found = self.describe()
            if found.model_id in (model_id, None) or found.is_updating:
                return found
        shown = found.model_id if found else None
        raise QianfanUpdateError(
            f"the update of {self._target.label} ended: it serves {shown}, not {model_id}"
        )

    def done(self) -> None:
        """Remember that the result was handed over."""
        self._write("done")

    def roll_back(self, poll_interval: float = 10.0) -> str:
        """Bring the service to the version before, wait until it serves that, and return its id.

        :param poll_interval: seconds between two polls.
        :raises QianfanError: that failed; the next attempt goes on with it.
        """
        before = self.update
        if before.previous_model_id is None or before.previous_model_set_id is None:
            raise QianfanUpdateError("which version it served before is not known")
        self._write("rolling back")
        found = self.describe()
        if found.is_updating:
            # The service may refuse another update before this one has ended.
            self._wait(poll_interval)
            found = self.describe()
        if found.model_id != before.previous_model_id:
            self._order(before.previous_model_set_id, before.previous_model_id)
            self._wait(poll_interval)
            if self.served(before.previous_model_id).is_updating:
                self._wait(poll_interval)
                self.served(before.previous_model_id)
        self._write("rolled back")
        self._log.info("%s serves %s again.", capitalised(self._target.label), before.previous_model_id)
        return before.previous_model_id

    def _wait(self, poll_interval: float) -> None:
        settings = PollSettings(
            poll_interval=poll_interval,
            max_poll_interval=poll_interval,
            deadline=time.time() + ROLL_BACK_SECONDS,
        )
        output_of(wait_on_worker(self._hook, self._target, settings, self._log))

    def _order(self, model_set_id: str, model_id: str) -> None:
        """Order a version, and see that the service knows of it."""
        from airflow_qianfan.api.actions import load

        request = load("service.ModifyService")(
            service_id=self.update.service_id, model_set_id=model_set_id, model_id=model_id
        )
        was_lost = False
        for orders_left in reversed(range(MAX_ORDERS)):
            if self.is_forbidden:
                raise QianfanError(f"{self._target.label} was not updated, since this task was ended")
            try:
                self._hook.call(request)
            except QianfanAmbiguousCreateError as error:
                was_lost = True
                self._log.warning("%s: %s. Looking whether it took effect.", error.action, error.message)
                if self._has_begun(model_id):
                    return
                if orders_left == 0:
                    # The next attempt looks again before it orders anything.
                    raise (error.__cause__ or error) from None
            except QianfanThrottledError as error:
                pause = pause_before_repeat(error, orders_left)
                if pause is None:
                    raise
                self._log.warning("%s: %s. Trying again in %.0f s.", error.action, error.message, pause)
                time.sleep(pause)
            except (QianfanRequestError, QianfanOperationFailedError):
                # It may be refused because one that nobody heard of has begun.
                if not (was_lost and self._has_begun(model_id)):
                    raise
                return
            else:
                self._log.info("Ordered %s for %s.", model_id, self._target.label)
                self._has_begun(model_id)
                return

    def _has_begun(self, model_id: str) -> bool:
        """Return whether the service shows the version or an update, as soon as it does.

        :raises QianfanError: nobody can tell.
        """
        failure: QianfanError | None = None
        updating = 0
        # An update that only the last reads show needs more of them.
        for number, share in enumerate(LOOKUPS + LOOKUPS[1:UPDATING_READS]):
            if number >= len(LOOKUPS) and not updating:
                break
            time.sleep(share * setting("settle_seconds"))
            try:
                found, failure = self.describe(), None
            except QianfanError as error:
                if not error.transient:
                    raise
                failure = error
                continue
            updating = updating + 1 if found.is_updating else 0
            if found.model_id == model_id or updating == UPDATING_READS:
                return True
        if failure is not None or updating:
            why = failure or "its states contradict each other"
            raise QianfanError(
                f"cannot tell whether {self._target.label} is being updated: {why}"
            ) from failure
        return False

    def _read(self) -> Update | None:
        return None if self._store is None else Update.load(self._store.get(KEY))

    def _write(self, stage: Stage) -> None:
        """Store how far it is; Airflow refuses where a later attempt has begun."""
        self.update = replace(self.update, stage=stage)
        if self._store is None:
            return
        try:
            with AttemptReplaced.told_by_airflow():
                self._store.set(KEY, asdict(self.update), retention=RETENTION)
        except AttemptReplaced as error:
            raise QianfanError(
                f"{self._target.label} is left to a later attempt of this task, which has begun meanwhile"
            ) from error


def _is_same(one: Update, other: Update) -> bool:
    return (one.service_id, one.model_id) == (other.service_id, other.model_id)
