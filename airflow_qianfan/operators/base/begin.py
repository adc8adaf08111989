"""Begin what has no object of its own, such as publishing: a state tells whether it has begun."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_qianfan.api.objects import Phase
from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanAmbiguousCreateError,
    QianfanError,
    QianfanOperationFailedError,
    QianfanRequestError,
)
from airflow_qianfan.operators.base.lookup import FEW_LOOKUPS, LOOKUPS, read_settled
from airflow_qianfan.operators.base.submission import MAX_SUBMITS, pause_before_repeat
from airflow_qianfan.settings import setting

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.base import Action
    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.hooks.qianfan import QianfanHook
    from airflow_qianfan.triggers.base.polling import Target

_REFUSALS = (QianfanRequestError, QianfanOperationFailedError, QianfanAlreadyExistsError)


def begin_once(hook: QianfanHook, target: Target, request: Action[Any], log: Logger) -> None:
    """Send a request that changes the state of an object, unless the state shows that it has done so already.

    :param hook: the hook of the task.
    :param target: the object.
    :param request: what changes its state.
    :param log: the log of the task.
    :raises QianfanAmbiguousCreateError: nobody knows whether it has begun.
    """

    def read() -> RemoteObject:
        return target.kind.view(hook.call(target.request()))

    def read_until(condition: Callable[[RemoteObject], bool]) -> RemoteObject:
        found = _read_until(read, lambda found: found.state.is_known and condition(found))
        if not found.state.is_known:
            # A word that nobody knows may stand for a state in which it has not begun, unless it stays.
            found = _read_until(read, lambda found: found.state.is_known)
        return found

    found = read_settled(read, target.label, log, FEW_LOOKUPS)
    if not found.state.is_known:
        found = read_until(lambda found: True)
    for submits_left in reversed(range(MAX_SUBMITS)):
        if _has_begun(found):
            log.info("Nothing to do: %s is %s already.", target.label, found.status)
            return
        try:
            hook.call(request)
        except QianfanAmbiguousCreateError as error:
            log.warning("%s: %s. Looking whether it took effect.", error.action, error.message)
            found = read_until(_has_begun)
            if not getattr(found, target.kind.state_member):
                raise
            if submits_left == 0 and not _has_begun(found):
                raise error.__cause__ or error from None
        except QianfanError as error:
            pause = pause_before_repeat(error, submits_left)
            if pause is not None:
                log.warning("%s: %s. Trying again in %.0f s.", error.action, error.message, pause)
                time.sleep(pause)
                continue
            # Somebody else may have been faster, or the read before was stale.
            if not isinstance(error, _REFUSALS) or not _has_begun(found := read()):
                raise
        else:
            log.info("Begun: %s.", target.label)
            if found.state.is_final:
                # The end of an earlier try must not be taken for that of this one.
                _read_until(read, functools.partial(_differs, found.status))
            return


def _has_begun(found: RemoteObject) -> bool:
    return not (found.state.is_waiting or found.state.phase is Phase.FAILED)


def _differs(status: str, found: RemoteObject) -> bool:
    return found.status != status


def _read_until(read: Callable[[], RemoteObject], condition: Callable[[RemoteObject], bool]) -> RemoteObject:
    """Read until something is so, or ``[qianfan] settle_seconds`` are over."""
    for share in LOOKUPS:
        time.sleep(share * setting("settle_seconds"))
        if condition(found := read()):
            break
    return found
