"""What a person reads in the log of a task that waits: state, progress, time, and how it ended."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.objects import RemoteObject

_REASONS = ("reason", "error", "message", "msg")
"""Qianfan documents no member for the reason of a failure; one that is called like this is shown."""


NOTICEABLE = 0.05
"""The share by which progress has to change for a line."""

SILENCE = 600.0
"""Seconds after which a line is written although nothing has changed."""

BAR = 20
"""Characters of a bar."""


class ProgressLog:
    """Writes a line whenever the state has changed, progress has changed noticeably, or ten minutes passed.

    :param log: where to write.
    :param started: when the waiting began, in seconds since the epoch.
    """

    __slots__ = ("_first", "_last", "_log", "_started")

    def __init__(self, log: Logger, started: float) -> None:
        self._log = log
        self._started = started
        # Time, state and progress of the first poll that counts for the time left, and of the last line.
        self._first: tuple[float, str, float | None] | None = None
        self._last: tuple[float, str, float | None] | None = None

    @property
    def memory(self) -> dict[str, Any]:
        """What :meth:`restore` takes, fit for JSON: where each poll is a process of its own."""
        points = {"first": self._first, "last": self._last}
        return {name: None if point is None else list(point) for name, point in points.items()}

    def restore(self, memory: Any) -> None:
        """Go on where another process has stopped; what is none of its memories is ignored."""
        with suppress(TypeError, ValueError, KeyError):
            first, last = (_point(memory[name]) for name in ("first", "last"))
            self._first, self._last = first, last

    def update(self, found: RemoteObject, now: float, console_url: str | None = None) -> None:
        """Take what a poll found.

        :param found: the object.
        :param now: time in seconds since the epoch.
        :param console_url: the page that shows it.
        """
        state, share, last = found.state, found.progress, self._last
        is_new_state = last is None or state.word != last[1]
        if last is not None and not is_new_state:
            # Not every poll tells the progress.
            share = last[2] if share is None else share
            has_moved = share is not None and (last[2] is None or abs(share - last[2]) >= NOTICEABLE - 1e-9)
            if state.is_final or not (has_moved or now - last[0] >= SILENCE):
                return
        self._last = (now, state.word, share)
        if state.is_final:
            self._log_end(found, now, console_url)
            return
        parts = [f"{capitalised(found.label)}: {state.word or 'no state yet'}"]
        if share is not None:
            parts[0] += f" {bar(share)}"
        if found.progress_words is not None:
            parts.append(found.progress_words)
        parts.append(f"{duration(now - self._start(found))} elapsed")
        left = self._time_left(found, now)
        if left is not None:
            parts.append(f"about {duration(left)} left")
        self._log.info(", ".join(parts))
        if not state.is_known:
            self._log.warning(
                "The state %r of %s is not documented; waiting on.", state.word or "", found.label
            )
        if found.waits_for_person and is_new_state:
            self._log.warning(
                "%s waits for a person; it goes on when the answers have been judged in the console: %s",
                capitalised(found.label),
                console_url or "see its page there",
            )

    def _log_end(self, found: RemoteObject, now: float, console_url: str | None) -> None:
        from airflow_qianfan.api.objects import Phase

        took = duration(now - self._start(found))
        if found.state.phase is Phase.SUCCEEDED:
            self._log.info("%s: %s, after %s.", capitalised(found.label), found.status, took)
        else:
            self._log.error(
                "%s ended as %s after %s: %s.", capitalised(found.label), found.status, took, reason(found)
            )
        for line in found.summary():
            self._log.info(line)
        for title, lines in found.details().items():
            # Airflow's UI folds what stands between these two.
            self._log.info("::group::%s", title)
            for line in lines:
                self._log.info(line)
            self._log.info("::endgroup::")
        if console_url:
            self._log.info("In the console: %s", console_url)

    def _start(self, found: RemoteObject) -> float:
        # In which time zone the service writes its dates is not documented: one that lies after the moment
        # when the waiting began is not in ours.
        created = found.started
        return self._started if created is None or created > self._started else created

    def _time_left(self, found: RemoteObject, now: float) -> float | None:
        # Counts from the first poll, since the waiting may begin long after the training did. What has not
        # begun is at 0; a list does not tell how far a training is that has begun.
        word, progress = found.state.word, found.progress
        if self._first is None or self._first[1:] == (word, None):
            self._first = (now, word, progress)
        start, _, before = self._first
        before = before or 0.0
        if progress is None or progress <= before:
            return None
        return (now - start) * (1 - progress) / (progress - before)


def _point(value: Any) -> tuple[float, str, float | None] | None:
    if value is None:
        return None
    when, word, share = value
    return float(when), str(word), None if share is None else float(share)


def bar(share: float) -> str:
    """Return a share from 0 to 1 as a bar with its percentage, never more than is done."""
    filled = math.floor(share * BAR + 1e-9)
    return f"{'█' * filled}{'░' * (BAR - filled)} {math.floor(share * 100 + 1e-9)}%"


def reason(found: RemoteObject) -> str:
    """Return why it failed, as far as the service says."""
    if found.failure:
        return found.failure
    members: dict[str, Any] = found.model_dump(by_alias=True)
    told = [
        f"{name} {value}"
        for name, value in members.items()
        if value and isinstance(value, str) and any(part in name.lower() for part in _REASONS)
    ]
    return "; ".join(told)[:500] or "Qianfan's API tells no reason"


def duration(seconds: float) -> str:
    """Return a number of seconds as a person says it."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    if not minutes:
        return f"{rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def capitalised(text: str) -> str:
    """Return a text as a sentence begins; ids in it keep their case."""
    return text[:1].upper() + text[1:]
