"""Looking for what may be too new to be seen: Qianfan's lists and reads are eventually consistent."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanNotFoundError,
    QianfanRequestError,
)
from airflow_qianfan.settings import setting

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.operators.base.creation import Creation

LOOKUPS = (0.0, 1 / 30, 2 / 30, 4 / 30, 8 / 30, 15 / 30)
"""Something is absent only after all these look-ups. Each is the pause before one, as a share of
``[qianfan] settle_seconds``."""

FEW_LOOKUPS = LOOKUPS[:3]
"""The look-ups for what this task has not created itself, so that a mistyped id is told soon."""

_STALE = (QianfanNotFoundError, QianfanRequestError)
"""Errors that stale reads return for new objects, or for a page that begins with one."""

FoundT = TypeVar("FoundT")


def read_settled(
    read: Callable[[], FoundT],
    what: str,
    log: Logger,
    lookups: Sequence[float] = LOOKUPS,
    *,
    is_complete: Callable[[FoundT], Any] = lambda found: True,
) -> FoundT:
    """Read what may be too new for the first look-up.

    :param read: reads it.
    :param what: what it is, for the log.
    :param log: the log of the task.
    :param lookups: see :data:`LOOKUPS`.
    :param is_complete: whether what was found is worth no further look-up; the last one counts in any case.
    :raises QianfanError: the last look-up failed, or one failed in a way that will not pass.
    """
    stale: QianfanError | None = None
    for number, share in enumerate(lookups, 1):
        time.sleep(share * setting("settle_seconds"))
        try:
            found = read()
        except _STALE as error:
            log.info("Look-up %d of %d for %s: %s", number, len(lookups), what, error)
            stale = error
            continue
        if is_complete(found) or number == len(lookups):
            return found
        log.info("Look-up %d of %d for %s: it is not complete yet", number, len(lookups), what)
    raise stale or AssertionError("unreachable")


def look_up(
    creation: Creation,
    log: Logger,
    before: Collection[str] | None,
    parent_id: str | None,
    lookups: Sequence[float] = LOOKUPS,
) -> str | None:
    """Return the id of what a Create in doubt has made; None where it has made nothing.

    :param creation: what the Create was to make.
    :param log: the log of the task.
    :param before: see :meth:`Creation.find`.
    :param parent_id: see :meth:`Creation.find`.
    :param lookups: see :data:`LOOKUPS`.
    :raises QianfanAmbiguousCreateError: several objects could be the one.
    :raises QianfanError: nobody can tell, since the last look-up failed.
    """
    failure: QianfanError | None = None
    what = creation.what
    for share in lookups:
        time.sleep(share * setting("settle_seconds"))
        try:
            found, failure = creation.find(before, parent_id), None
        except QianfanError as error:
            if not (error.transient or isinstance(error, _STALE)):
                raise
            log.warning("Look-up of %s failed: %s", what, error)
            failure = error
            continue
        if len(found) > 1:
            raise QianfanAmbiguousCreateError(
                f"{what}: {', '.join(found)} could each be the one that this task created"
            )
        if found:
            log.info("Attached to %s %s, which exists already.", what, found[0])
            return found[0]
    if isinstance(failure, QianfanNotFoundError):
        # What it belonged to is gone, and it with that.
        return None
    if failure is not None:
        # The last look-up decides, so the next attempt of this task has to look again.
        raise QianfanError(f"cannot tell whether {what} exists: {failure}") from failure
    return None


def find_by_name(creation: Creation) -> str | None:
    """Return the id of what has the name, whoever created it, also where it is very new."""
    for share in LOOKUPS:
        time.sleep(share * setting("settle_seconds"))
        if found := creation.same_name():
            return found[0]
    return None
