"""What is polled, how often, and what a poll means: the same for triggers, sensors and operators."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanAuthenticationError,
    QianfanError,
    QianfanNotFoundError,
    QianfanPersonNeededError,
    QianfanPollError,
    QianfanPollRefusedError,
    QianfanResponseError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.settings import setting
from airflow_qianfan.triggers.base.plan import next_pause, within_budget
from airflow_qianfan.triggers.base.progress import ProgressLog

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.base import Action
    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.hooks.qianfan import QianfanHook

MAX_BACKOFF = 600.0
"""Seconds between two polls at most while polls fail."""

LAST_POLL = 10.0
"""Seconds after the deadline for which a poll that is under way is waited for."""

WHOLE_SECONDS_FROM = 16.0
"""Round pauses of at least so many seconds to whole seconds, so that polls batch: those that are sent
together cost a third less than those for which a triggerer wakes up one by one."""

MAX_REFUSED = 3
"""How many refusals in a row are tolerated: see :meth:`PollState.record_failure`."""

Manual = Literal["wait", "fail"]
"""What to do about an object that waits for a person."""

TIMEOUT_EVENT = {"status": "timeout", "message": "the deadline passed while waiting"}


@dataclass(slots=True, eq=False)
class Target:
    """The object that is waited for.

    :param kind: what it is.
    :param object_id: its id.
    :param parent_id: the id of what it belongs to, whose list shows it too; found out where it is None.
    """

    kind: type[RemoteObject]
    object_id: str
    parent_id: str | None = None

    @property
    def label(self) -> str:
        """It in a sentence."""
        return f"{self.kind.noun} {self.object_id}"

    def request(self) -> Action[Any]:
        """Return the request that reads its state. Many wait and few are polled, so it is made when due."""
        return self.kind.describe(self.object_id)

    @property
    def list_key(self) -> tuple[str, str] | None:
        """What all objects of a list that shows it too have in common; None where there is no such list."""
        if self.parent_id is None or not self.kind.is_listed_with_state:
            return None
        return self.kind.noun, self.parent_id


@dataclass(slots=True, kw_only=True, eq=False)
class PollSettings:
    """How an object is polled; times in seconds.

    :param poll_interval: time between two polls at least; a tenth is added or taken away at random.
    :param max_poll_interval: time between two polls at most, while there is long to go.
    :param max_poll_failures: how many failures in a row are tolerated.
    :param started: when the waiting began, since the epoch.
    :param deadline: when to give up, since the epoch; None for never.
    :param manual: ``wait`` where a person has to do something at the service first, or ``fail``.
    """

    poll_interval: float = 30.0
    max_poll_interval: float = 600.0
    max_poll_failures: int = 10
    started: float = field(default_factory=time.time)
    deadline: float | None = None
    manual: Manual = "wait"

    def __post_init__(self) -> None:
        self.max_poll_interval = max(self.max_poll_interval, self.poll_interval)


def final_event(found: RemoteObject, console_url: str | None = None) -> dict[str, Any]:
    """Return the payload of the event that ends the waiting for an object in a final state."""
    from airflow_qianfan.api.objects import Phase

    message = f"{found.label} ended as {found.status}"
    succeeded = found.state.phase is Phase.SUCCEEDED
    return {
        "status": "success" if succeeded else "failed",
        "message": message if succeeded or not found.failure else f"{message}: {found.failure}",
        "state": found.status,
        "output": {**found.output(), "console_url": console_url},
    }


def output_of(event: dict[str, Any] | None) -> dict[str, Any]:
    """Return the output that an event carries.

    :raises QianfanTerminalStateError: what was waited for failed or was stopped.
    :raises QianfanPersonNeededError: it waits for a person, and nobody waits for that.
    :raises QianfanWaitTimeoutError: the deadline passed.
    :raises QianfanPollRefusedError: the state could not be read, and another attempt would not mend that.
    :raises QianfanPollError: the state could not be read, or the event is none of ours.
    """
    event = event if isinstance(event, dict) else {}
    status, message = event.get("status"), str(event.get("message"))
    output = event.get("output")
    if status == "success" and isinstance(output, dict):
        return output
    url = output.get("console_url") if isinstance(output, dict) else None
    if status == "manual":
        raise QianfanPersonNeededError(message, url=url)
    if status == "failed":
        raise QianfanTerminalStateError(message, state=event.get("state"), url=url)
    if status == "timeout":
        raise QianfanWaitTimeoutError(message)
    if status == "error":
        raise (
            QianfanPollRefusedError(message) if event.get("can_retry") is False else QianfanPollError(message)
        )
    raise QianfanPollError(f"the trigger ended without a usable event: status {status!r}")


class PollState:
    """Judges one poll after another: whether to go on, and after which pause.

    :param target: what is polled.
    :param settings: how it is polled.
    :param log: where progress and failures are written.
    :param to_console: turns the address of a page of Baidu's console into the one to show; see
        :meth:`airflow_qianfan.hooks.qianfan.QianfanHook.console_url`.
    """

    __slots__ = (
        "_absent",
        "_asked",
        "_begun",
        "_delay",
        "_failures",
        "_has_answered",
        "_last",
        "_log",
        "_refused",
        "_to_console",
        "console_url",
        "progress",
        "settings",
        "target",
    )

    def __init__(
        self, target: Target, settings: PollSettings, log: Logger, to_console: Callable[[str], str]
    ) -> None:
        self.target = target
        self.settings = settings
        self.console_url: str | None = None
        self._to_console = to_console
        self._log = log
        self.progress = ProgressLog(log, settings.started)
        self._failures = self._refused = self._absent = 0
        self._begun = time.time()
        self._has_answered = False
        self._delay = settings.poll_interval
        self._asked = 0.0
        self._last: tuple[float, float] | None = None

    def record(self, found: RemoteObject) -> dict[str, Any] | None:
        """Take what a poll found; return the payload of the event that ends the waiting, if it is over."""
        found = self.target.kind.view(found)
        self._failures = self._refused = 0
        self._has_answered = True
        now = time.time()
        self._delay, self._asked = self._plan(found.progress, now), 0.0
        # Many wait: the same text is not kept a second time.
        if found.parent_id and found.parent_id != self.target.parent_id:
            self.target.parent_id = found.parent_id
        if found.console_url:
            self.console_url = self._to_console(found.console_url)
        if found.is_absent:
            return self._record_absent(found, now)
        self._absent = 0
        self.progress.update(found, now, self.console_url)
        if found.waits_for_person:
            return self._manual_event(found)
        return final_event(found, self.console_url) if found.state.is_final else None

    def _manual_event(self, found: RemoteObject) -> dict[str, Any] | None:
        if self.settings.manual == "fail":
            output = {**found.output(), "console_url": self.console_url}
            message = f"{found.label} waits for a person: it is {found.status}"
            return {"status": "manual", "message": message, "state": found.status, "output": output}
        return None

    def _record_absent(self, found: RemoteObject, now: float) -> dict[str, Any] | None:
        # What was created a moment ago may be missing from an eventually consistent read. Where each poll is
        # a process of its own, only the time tells.
        self._absent += 1
        started = self.settings.started
        patience = max(setting("settle_seconds"), MAX_REFUSED * self.settings.poll_interval)
        is_missing_for_long = self._absent > MAX_REFUSED and now - started >= patience
        if not is_missing_for_long and self._begun - started < patience:
            self._log.info("There is no %s yet.", found.label)
            return None
        message = f"there is no {found.label}: it was never created, or has failed"
        output = {**found.output(), "console_url": self.console_url}
        return {"status": "failed", "message": message, "state": None, "output": output}

    def _plan(self, progress: float | None, now: float) -> float:
        speed = 0.0
        if progress is not None:
            if self._last is not None and now > self._last[0]:
                speed = (progress - self._last[1]) / (now - self._last[0])
            self._last = (now, progress)
        settings = self.settings
        age = max(0.0, now - settings.started)
        return next_pause(age, progress, settings.poll_interval, settings.max_poll_interval, speed=speed)

    def record_failure(self, error: QianfanError) -> None:
        """Take a failed poll.

        :raises QianfanError: this error, where it is one too many or will not go away.
        """
        self._failures += 1
        # What was created a moment ago may be missing from an eventually consistent read, and a key may be
        # replaced at the service a moment before it is in the connection.
        is_refused = isinstance(error, QianfanNotFoundError) or (
            self._has_answered and isinstance(error, QianfanAuthenticationError)
        )
        self._refused += is_refused
        count, tolerated = self._failures, self.settings.max_poll_failures
        if is_refused:
            count, tolerated = self._refused, MAX_REFUSED
        # An answer that is none of Qianfan's may come from a gateway that is there for a moment only.
        may_pass = error.transient or is_refused or isinstance(error, QianfanResponseError)
        if count > tolerated or not may_pass:
            raise error
        self._log.warning(
            "Poll of %s failed (%d of %d tolerated in a row): %s", self.target.label, count, tolerated, error
        )
        longest = max(MAX_BACKOFF, self.settings.poll_interval)
        self._delay = min(self.settings.poll_interval * 2.0 ** min(self._failures - 1, 30), longest)
        self._asked = (error.retry_after or 0.0) if isinstance(error, QianfanAPIError) else 0.0

    def first_pause(self) -> float:
        """Return the seconds until the first poll, which is made even where the deadline has passed."""
        return self._until_deadline(random.uniform(0, self.settings.poll_interval)) or 0.0  # noqa: S311

    def pause(self, affordable: float = 0.0) -> float | None:
        """Return the seconds until the next poll; None where the deadline has passed.

        :param affordable: the pause in seconds with which all that wait can be polled within the budget.
        """
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - only spreads the load
        delay = self._delay
        if not self._failures:
            delay = within_budget(delay, self.settings.poll_interval, affordable)
        pause = delay * jitter
        if pause >= WHOLE_SECONDS_FROM:
            now = time.time()
            pause = round(now + pause) - now
        return self._until_deadline(max(self._asked, pause))

    def _until_deadline(self, pause: float) -> float | None:
        if self.settings.deadline is None:
            return pause
        left = self.settings.deadline - time.time()
        return min(pause, left) if left > 0 else None


def wait_on_worker(hook: QianfanHook, target: Target, settings: PollSettings, log: Logger) -> dict[str, Any]:
    """Wait until an object is in a final state, and return the payload of the event that says so.

    :param hook: the hook of the task.
    :param target: what to wait for.
    :param settings: how to poll it.
    :param log: the log of the task.
    :raises QianfanError: its state cannot be read.
    """
    state = PollState(target, settings, log, hook.console_url)
    while True:
        try:
            event = state.record(hook.call(target.request()))
        except QianfanError as error:
            state.record_failure(error)
            if isinstance(error, QianfanAuthenticationError):
                # A token or key that has ended may have a successor in the connection.
                hook.reload()
        else:
            if event is not None:
                return event
        pause = state.pause()
        if pause is None:
            return TIMEOUT_EVENT
        time.sleep(pause)


def check_seconds(name: str, value: Any) -> None:
    """Check a pause before anything is created that would then be waited for with it.

    :param name: the argument, for the message.
    :param value: what was given for it.
    :raises ValueError: it is no positive number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds, not {value!r}")
