"""What all triggers share: look, log progress, wait, until a final state, a deadline or too many failures."""

from __future__ import annotations

import asyncio
import random
import time
from abc import abstractmethod
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanError,
    QianfanPollError,
    QianfanTerminalStateError,
    QianfanWaitTimeoutError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.base import Action

MAX_BACKOFF = 600.0
"""Seconds between two looks at most while looking fails."""


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
        raise QianfanPollError(message)
    raise QianfanPollError(f"the trigger ended without a usable event: status {status!r}")


class ProgressLog:
    """Writes a line whenever the state or the progress of the watched object changes.

    :param log: where to write.
    :param started: when the waiting began, in seconds since the epoch.
    """

    def __init__(self, log: Logger, started: float) -> None:
        self._log = log
        self._started = started
        self._last: tuple[str, float | None] | None = None
        self._first_progress: tuple[float, float] | None = None

    def update(self, seen: Observation, now: float) -> None:
        """Take a look's result at the time ``now``, in seconds since the epoch."""
        if (seen.state, seen.progress) == self._last:
            return
        self._last = (seen.state, seen.progress)
        parts = [f"{seen.what}: {seen.state or 'no state yet'}"]
        if seen.progress is not None:
            parts.append(f"{seen.progress:.0%} done")
        parts.append(f"{_duration(now - self._started)} elapsed")
        left = self._time_left(seen.progress, now)
        if left is not None and not seen.is_terminal:
            parts.append(f"about {_duration(left)} left")
        self._log.info(", ".join(parts))
        if not seen.is_known:
            self._log.warning("%s is in a state that is not documented; waiting on.", seen.what)

    def _time_left(self, progress: float | None, now: float) -> float | None:
        if not progress:
            return None
        if self._first_progress is None:
            self._first_progress = (now, progress)
            return (now - self._started) * (1 - progress) / progress
        start, before = self._first_progress
        return (now - start) * (1 - progress) / (progress - before) if progress > before else None


class QianfanTrigger(BaseTrigger):
    """Looks at a remote object until it has reached a final state.

    It only reads, so that a restarted triggerer can start it again at any time.

    :param qianfan_conn_id: id of the connection.
    :param poll_interval: seconds between two looks; a tenth of it is added or taken away at random.
    :param started: when the waiting began, in seconds since the epoch; None for now.
    :param deadline: when to give up, in seconds since the epoch; None for never.
    :param max_poll_failures: how many failures in a row to bear before giving up.
    """

    def __init__(
        self,
        *,
        qianfan_conn_id: str = QianfanHook.default_conn_name,
        poll_interval: float = 30.0,
        started: float | None = None,
        deadline: float | None = None,
        max_poll_failures: int = 10,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.qianfan_conn_id = qianfan_conn_id
        self.poll_interval = poll_interval
        self.started = time.time() if started is None else started
        self.deadline = deadline
        self.max_poll_failures = max_poll_failures

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments; they are stored unencrypted, so they hold no secret."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "qianfan_conn_id": self.qianfan_conn_id,
            "poll_interval": self.poll_interval,
            "started": self.started,
            "deadline": self.deadline,
            "max_poll_failures": self.max_poll_failures,
        }

    @abstractmethod
    def request(self) -> Action[Any]:
        """Return the request that reads the state."""

    @abstractmethod
    def observe(self, result: Any) -> Observation:
        """Return what the result of :meth:`request` means."""

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: ``status`` is ``success``, ``failed``, ``timeout`` or ``error``."""
        try:
            event = await self._wait()
        except AirflowException as error:
            event = {"status": "error", "message": f"cannot read the state: {error}"}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def _wait(self) -> dict[str, Any]:
        progress = ProgressLog(self.log, self.started)
        failures = 0
        async with QianfanHook(self.qianfan_conn_id).async_client() as client:
            while True:
                delay = self.poll_interval
                try:
                    seen = self.observe(await client.call(self.request()))
                except QianfanError as error:
                    failures += 1
                    if not error.transient or failures > self.max_poll_failures:
                        raise
                    delay = self._backoff(error, failures)
                    self.log.warning(
                        "Look failed, %d of %d in a row to bear: %s", failures, self.max_poll_failures, error
                    )
                else:
                    failures = 0
                    progress.update(seen, time.time())
                    if seen.is_terminal:
                        return seen.event()
                delay *= random.uniform(0.9, 1.1)  # noqa: S311 - only spreads the load
                if self.deadline is not None:
                    left = self.deadline - time.time()
                    if left <= 0:
                        return {"status": "timeout", "message": "the deadline passed while waiting"}
                    delay = min(delay, left)
                await asyncio.sleep(delay)

    def _backoff(self, error: QianfanError, failures: int) -> float:
        asked = error.retry_after if isinstance(error, QianfanAPIError) else None
        return max(asked or 0.0, min(self.poll_interval * 2.0 ** (failures - 1), MAX_BACKOFF))


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"
