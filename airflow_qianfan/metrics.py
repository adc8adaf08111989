"""What Airflow's metrics and traces are told, where they are on; docs/metrics.md lists it.

Neither a call nor a poll may fail because of a metric, so nothing here raises.
"""

from __future__ import annotations

import asyncio
import logging
import re
import socket
import threading
import time
from typing import Any, Literal

from airflow_qianfan.compat import conf, stats, task_traces
from airflow_qianfan.exceptions import QianfanConnectionError, QianfanError, QianfanThrottledError

log = logging.getLogger(__name__)

PREFIX = "qianfan"

Found = Literal["record", "search", "name"]
"""How something is found that is used instead of another: Airflow remembers its id; it has the name or the
mark of what a Create in doubt was to make; or it has the name, and a user allows that."""

_ACTION = re.compile(r"[A-Za-z][A-Za-z0-9]{0,63}", re.ASCII)


def outcome_of(error: QianfanError | None) -> str:
    """Return the one word for how a call has ended: ``ok``, ``lost_answer``, or the class of its error."""
    if error is None:
        return "ok"
    if isinstance(error, QianfanConnectionError) and error.sent:
        return "lost_answer"
    name = type(error).__name__.removeprefix("Qianfan").removesuffix("Error")
    return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()


class Metrics:
    """Tells Airflow's metrics and traces what this package does.

    It is an :class:`airflow_qianfan.api.observer.Observer`.

    :param stats: what takes metrics; None where they are off.
    :param traces: OpenTelemetry's ``trace``; None where traces are off.
    :param legacy_names: whether each metric with tags is sent a second time without, under a name that holds
        their values: what Airflow's ``[metrics] legacy_names_on`` says.
    """

    def __init__(self, stats: Any, traces: Any = None, *, legacy_names: bool = True) -> None:
        self._stats = stats
        self._traces = traces
        self._legacy_names = legacy_names
        self._waiting = 0
        self._has_failed = False
        # Not the full name, which may have to be asked for in the network.
        self._hostname = re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())

    def call_retried(self, action: str, error: QianfanError) -> None:
        """Count another attempt of a call."""
        action = _label(action)
        self._send("incr", "retries", action=action, outcome=outcome_of(error))
        self._count_throttle(action, error)

    def call_ended(
        self, action: str, seconds: float, error: QianfanError | None, request_id: str | None
    ) -> None:
        """Count a call, and tell how long it took; add a span to the trace of its task."""
        action, outcome = _label(action), outcome_of(error)
        self._send("incr", "calls", action=action, outcome=outcome)
        self._send("timing", "call_duration", seconds * 1000, action=action, outcome=outcome)
        self._count_throttle(action, error)
        if self._traces is not None:
            self._trace(action, seconds, outcome, request_id)

    def attached(self, kind: str, found: Found) -> None:
        """Count that something which exists is used instead of another that would be created.

        :param kind: what it is, such as ``FineTuningTask``.
        :param found: how it was found.
        """
        self._send("incr", "attached", kind=kind, found=found)

    def wait_changed(self, change: int) -> None:
        """Tell how many objects are waited for in this process.

        :param change: how many more than before.
        """
        self._waiting += change
        self._send_waiting()

    def poll_sent(self, late: float) -> None:
        """Tell how late a poll was sent.

        :param late: seconds since it was due.
        """
        self._send("timing", "poll_delay", late * 1000)
        # Some collectors forget what is not told again.
        self._send_waiting()

    def _send_waiting(self) -> None:
        self._send("gauge", "waiting", self._waiting, hostname=self._hostname)

    def _count_throttle(self, action: str, error: QianfanError | None) -> None:
        if isinstance(error, QianfanThrottledError):
            self._send("incr", "throttles", action=action)

    def _send(self, method: str, name: str, *values: float, **tags: str) -> None:
        if self._stats is None:
            return
        try:
            send = getattr(self._stats, method)
            if tags and self._legacy_names:
                send(".".join((PREFIX, name, *tags.values())), *values)
            send(f"{PREFIX}.{name}", *values, tags=tags)
        except Exception as error:
            self._report(error)

    def _trace(self, action: str, seconds: float, outcome: str, request_id: str | None) -> None:
        try:
            # Polls of a triggerer are answers for many tasks, and belong into the trace of none.
            if not self._traces.get_current_span().is_recording():
                return
            end = time.time_ns()
            attributes = {"qianfan.action": action, "qianfan.outcome": outcome}
            if request_id:
                attributes["qianfan.request_id"] = request_id
            span = self._traces.get_tracer("airflow_qianfan").start_span(
                f"{PREFIX}.{action}",
                kind=self._traces.SpanKind.CLIENT,
                attributes=attributes,
                start_time=end - int(seconds * 1e9),
            )
            span.end(end)
        except Exception as error:
            self._report(error)

    def _report(self, error: Exception) -> None:
        if not self._has_failed:
            self._has_failed = True
            log.warning("Airflow does not take metrics or traces of Qianfan: %s", type(error).__name__)


def _label(action: str) -> str:
    """Return the name of an Action, unless it could be anything: a user may have made it up."""
    return action if _ACTION.fullmatch(action) else "other"


_LOADED: list[Metrics | None] = []
_LOADING = threading.Lock()


def load_metrics() -> Metrics | None:
    """Return what Airflow's metrics and traces are told through; None where both are off.

    There is one for the whole process. The first call may wait for the name service.
    """
    if not _LOADED:
        with _LOADING:
            if not _LOADED:
                _LOADED.append(_load())
    return _LOADED[0]


async def aload_metrics() -> Metrics | None:
    """Return the same without blocking the event loop."""
    return load_metrics() if _LOADED else await asyncio.to_thread(load_metrics)


def _load() -> Metrics | None:
    sends, traces = stats(), task_traces()
    if sends is None and traces is None:
        return None
    if sends is not None:
        # A timer that is not started sends nothing, but opens the socket and reads Airflow's list of metrics.
        sends.timer(f"{PREFIX}.call_duration")
    return Metrics(sends, traces, legacy_names=conf.getboolean("metrics", "legacy_names_on", fallback=True))


def count_attached(kind: type, found: Found) -> None:
    """Count that something which exists is used instead of another; see :meth:`Metrics.attached`."""
    if (metrics := load_metrics()) is not None:
        metrics.attached(kind.__name__, found)
