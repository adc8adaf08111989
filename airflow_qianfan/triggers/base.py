"""What all triggers share: look, log progress, wait, until a final state, a deadline or too many failures."""

from __future__ import annotations

import asyncio
import math
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowFailException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanAuthenticationError,
    QianfanError,
    QianfanNotFoundError,
    QianfanPollError,
    QianfanPollRefusedError,
    QianfanResponseError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.triggers.plan import next_pause

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.base import Action
    from airflow_qianfan.triggers.poller import Listing

MAX_BACKOFF = 600.0
"""Seconds between two looks at most while looking fails."""


LAST_LOOK = 10.0
"""Seconds after the deadline for which a look that is under way is waited for."""

WHOLE_SECONDS_FROM = 16.0
"""Planned pauses of at least so many seconds end at the nearest whole second: looks that are sent together
cost a third less than looks for which a triggerer wakes up one by one."""

MAX_REFUSED = 3
"""How many looks in a row may be refused before it is believed: see :meth:`Watch.failed`."""

TIMEOUT_EVENT = {"status": "timeout", "message": "the deadline passed while waiting"}


@dataclass(frozen=True)
class Observation:
    """What one look at a remote object showed.

    :param what: the object, for a sentence.
    :param state: the service's word for its state.
    :param is_known: False for a word that is not documented.
    :param is_terminal: whether it stays like this.
    :param is_success: whether it is what was waited for.
    :param progress: share that is done, from 0 to 1, if known.
    :param output: what the waiting task returns.
    """

    what: str
    state: str
    is_known: bool
    is_terminal: bool
    is_success: bool
    progress: float | None
    output: dict[str, Any] = field(default_factory=dict)

    def event(self) -> dict[str, Any]:
        """Return the payload of the event that ends the waiting."""
        return {
            "status": "success" if self.is_success else "failed",
            "message": f"{self.what} ended as {self.state}",
            "state": self.state,
            "output": self.output,
        }


def output_of(event: dict[str, Any] | None) -> dict[str, Any]:
    """Return the output that an event carries.

    :raises QianfanTerminalStateError: what was waited for failed or was stopped.
    :raises QianfanWaitTimeoutError: the deadline passed.
    :raises QianfanPollRefusedError: the state could not be read, and another attempt would not mend that.
    :raises QianfanPollError: the state could not be read, or the event is none of ours.
    """
    event = event if isinstance(event, dict) else {}
    status, message = event.get("status"), str(event.get("message"))
    output = event.get("output")
    if status == "success" and isinstance(output, dict):
        return output
    if status == "failed":
        url = output.get("console_url") if isinstance(output, dict) else None
        raise QianfanTerminalStateError(message, state=event.get("state"), url=url)
    if status == "timeout":
        raise QianfanWaitTimeoutError(message)
    if status == "error":
        raise (
            QianfanPollRefusedError(message) if event.get("can_retry") is False else QianfanPollError(message)
        )
    raise QianfanPollError(f"the trigger ended without a usable event: status {status!r}")


class ProgressLog:
    """Writes a line whenever the state or the progress of the watched object changes.

    :param log: where to write.
    :param started: when the waiting began, in seconds since the epoch.
    """

    __slots__ = ("_first", "_last", "_log", "_started")

    def __init__(self, log: Logger, started: float) -> None:
        self._log = log
        self._started = started
        self._last: tuple[str, float | None] | None = None
        self._first: tuple[float, str, float | None] | None = None

    def update(self, seen: Observation, now: float) -> None:
        """Take a look's result at the time ``now``, in seconds since the epoch."""
        # Not every look tells the progress.
        if self._last is not None and seen.state == self._last[0] and seen.progress in (None, self._last[1]):
            return
        self._last = (seen.state, seen.progress)
        parts = [f"{seen.what}: {seen.state or 'no state yet'}"]
        if seen.progress is not None:
            parts.append(f"{seen.progress:.0%} done")
        parts.append(f"{_duration(now - self._started)} elapsed")
        left = self._time_left(seen, now)
        if left is not None and not seen.is_terminal:
            parts.append(f"about {_duration(left)} left")
        self._log.info(", ".join(parts))
        if not seen.is_known:
            self._log.warning("%s is in a state that is not documented; waiting on.", seen.what)

    def _time_left(self, seen: Observation, now: float) -> float | None:
        # Counts from the first look, since the waiting may begin long after the training did. What has not
        # begun is at 0; a list does not tell how far a training is that has begun.
        if self._first is None or self._first[1:] == (seen.state, None):
            self._first = (now, seen.state, seen.progress)
        start, _, before = self._first
        before = before or 0.0
        if seen.progress is None or seen.progress <= before:
            return None
        return (now - start) * (1 - seen.progress) / (seen.progress - before)


class QianfanTrigger(BaseTrigger):
    """Looks at a remote object until it has reached a final state.

    It only reads, so that a restarted triggerer can start it again at any time.

    :param qianfan_conn_id: id of the connection.
    :param poll_interval: seconds between two looks at least; a tenth is added or taken away at random.
    :param max_poll_interval: seconds between two looks at most, while a training has long to go.
    :param started: when the waiting began, in seconds since the epoch; None for now.
    :param deadline: when to give up, in seconds since the epoch; None for never.
    :param max_poll_failures: how many failures in a row to bear before giving up.
    :param console_url: page of the console, if it is known already; every event leads to it.
    """

    def __init__(
        self,
        *,
        qianfan_conn_id: str = QianfanHook.default_conn_name,
        poll_interval: float = 30.0,
        max_poll_interval: float = 600.0,
        started: float | None = None,
        deadline: float | None = None,
        max_poll_failures: int = 10,
        console_url: str | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.qianfan_conn_id = qianfan_conn_id
        self.poll_interval = poll_interval
        self.max_poll_interval = max(max_poll_interval, poll_interval)
        self.started = time.time() if started is None else started
        self.deadline = deadline
        self.max_poll_failures = max_poll_failures
        self.console_url = console_url

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments; they are stored unencrypted, so they hold no secret."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "qianfan_conn_id": self.qianfan_conn_id,
            "poll_interval": self.poll_interval,
            "max_poll_interval": self.max_poll_interval,
            "started": self.started,
            "deadline": self.deadline,
            "max_poll_failures": self.max_poll_failures,
            "console_url": self.console_url,
        }

    @abstractmethod
    def request(self) -> Action[Any]:
        """Return the request that reads the state."""

    @abstractmethod
    def observe(self, result: Any) -> Observation:
        """Return what the result of :meth:`request` means."""

    @abstractmethod
    def ids(self) -> dict[str, str]:
        """Return the id of what is looked at, under its name in operators; each event carries it."""

    def listing(self) -> Listing | None:
        """Return a list that shows the object too, if there is one."""
        return None

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``status`` is ``success``, ``failed``, ``timeout`` or ``error``."""
        try:
            event = await self._wait()
        except AirflowException as error:
            can_retry = not isinstance(error, AirflowFailException)
            event = {"status": "error", "message": f"cannot read the state: {error}", "can_retry": can_retry}
        event = {"output": {"console_url": self.console_url}, **event, "ids": self.ids()}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        # A logger of the class: Airflow tells the lines of triggers apart by their context.
        watch = Watch(self, self.logger())
        # Only the triggerer needs it; DAG files are parsed every few seconds.
        from airflow_qianfan.triggers.sharing import Seat

        async with Seat(self.qianfan_conn_id) as seat:
            # The task has looked before it was deferred; a restarted triggerer must not ask for all at once.
            pause: float | None = watch.first_pause()
            while pause is not None:
                limit = asyncio.timeout(self._seconds_left())
                try:
                    async with limit:
                        event = watch.saw(self.observe(await seat.look(self, pause)))
                except QianfanError as error:
                    watch.failed(error)
                except TimeoutError:
                    if not limit.expired():
                        raise
                    break
                else:
                    if event is not None:
                        return event
                pause = watch.pause()
        return TIMEOUT_EVENT

    def _seconds_left(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.time()) + LAST_LOOK

    def wait(self, hook: QianfanHook, log: Logger) -> dict[str, Any]:
        """Wait on a worker, and return the payload of the event.

        :param hook: the hook of the task.
        :param log: the log of the task.
        :raises QianfanError: the state cannot be read.
        """
        watch = Watch(self, log)
        while True:
            try:
                event = watch.saw(self.observe(hook.call(self.request())))
            except QianfanError as error:
                watch.failed(error)
            else:
                if event is not None:
                    return event
            pause = watch.pause()
            if pause is None:
                return TIMEOUT_EVENT
            time.sleep(pause)


class Watch:
    """Judges one look after another: whether to go on, and after which pause.

    :param trigger: what is watched, and how.
    :param log: where progress and failures are written.
    """

    __slots__ = (
        "_asked",
        "_delay",
        "_failures",
        "_has_seen",
        "_last",
        "_log",
        "_progress",
        "_refused",
        "trigger",
    )

    def __init__(self, trigger: QianfanTrigger, log: Logger) -> None:
        self.trigger = trigger
        self._log = log
        self._progress = ProgressLog(log, trigger.started)
        self._failures = self._refused = 0
        self._has_seen = False
        self._delay = trigger.poll_interval
        self._asked = 0.0
        self._last: tuple[float, float] | None = None

    def saw(self, seen: Observation) -> dict[str, Any] | None:
        """Take what a look showed; return the payload of the event that ends the waiting, if it is over."""
        self._failures = self._refused = 0
        self._has_seen = True
        now = time.time()
        self._delay, self._asked = self._plan(seen.progress, now), 0.0
        self.trigger.console_url = seen.output.get("console_url")
        self._progress.update(seen, now)
        return seen.event() if seen.is_terminal else None

    def _plan(self, progress: float | None, now: float) -> float:
        speed = 0.0
        if progress is not None:
            if self._last is not None and now > self._last[0]:
                speed = (progress - self._last[1]) / (now - self._last[0])
            self._last = (now, progress)
        trigger = self.trigger
        age = max(0.0, now - trigger.started)
        return next_pause(age, progress, trigger.poll_interval, trigger.max_poll_interval, speed=speed)

    def failed(self, error: QianfanError) -> None:
        """Take a failed look.

        :raises QianfanError: this error, where it is one too many or will not go away.
        """
        self._failures += 1
        # What was created a moment ago may be missing from a read that lags behind, and a key may be replaced
        # at the service a moment before it is in the connection.
        is_refused = isinstance(error, QianfanNotFoundError) or (
            self._has_seen and isinstance(error, QianfanAuthenticationError)
        )
        self._refused += is_refused
        count, to_bear = self._failures, self.trigger.max_poll_failures
        if is_refused:
            count, to_bear = self._refused, MAX_REFUSED
        # An answer that is none of Qianfan's may come from a gateway that is there for a moment only.
        may_pass = error.transient or is_refused or isinstance(error, QianfanResponseError)
        if count > to_bear or not may_pass:
            raise error
        self._log.warning("Look failed, %d of %d in a row to bear: %s", count, to_bear, error)
        longest = max(MAX_BACKOFF, self.trigger.poll_interval)
        self._delay = min(self.trigger.poll_interval * 2.0 ** min(self._failures - 1, 30), longest)
        self._asked = (error.retry_after or 0.0) if isinstance(error, QianfanAPIError) else 0.0

    def first_pause(self) -> float:
        """Return the seconds until the first look, which is made even where the deadline has passed."""
        return self._until_deadline(random.uniform(0, self.trigger.poll_interval)) or 0.0  # noqa: S311

    def pause(self) -> float | None:
        """Return the seconds until the next look; None where the deadline has passed."""
        jitter = random.uniform(0.9, 1.1)  # noqa: S311 - only spreads the load
        pause = self._delay * jitter
        if pause >= WHOLE_SECONDS_FROM:
            now = time.time()
            pause = round(now + pause) - now
        return self._until_deadline(max(self._asked, pause))

    def _until_deadline(self, pause: float) -> float | None:
        if self.trigger.deadline is None:
            return pause
        left = self.trigger.deadline - time.time()
        return min(pause, left) if left > 0 else None


def check_seconds(name: str, value: Any) -> None:
    """Check a pause before anything is created that would then be waited for with it.

    :param name: the argument, for the message.
    :param value: what was given for it.
    :raises ValueError: it is no positive number.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 < value < math.inf:
        raise ValueError(f"{name} must be a positive number of seconds, not {value!r}")


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
