"""Stops an object when the Airflow task that waited for it is ended, verified and without raising.

A user ends a task by marking it as failed or successful. A clear does not: the next attempt decides what
becomes of the object. Restarts, hand-overs and lost workers do not either.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Generator
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from airflow.sdk import get_current_context

from airflow_qianfan.compat import AirflowException, aget_task_state
from airflow_qianfan.exceptions import (
    QianfanAPIError,
    QianfanError,
    QianfanOperationFailedError,
    QianfanRequestError,
    QianfanWaitTimeoutError,
)

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.base import Action
    from airflow_qianfan.api.objects import RemoteObject
    from airflow_qianfan.hooks.qianfan import QianfanHook
    from airflow_qianfan.triggers.base.polling import Target

PAUSE = 0.5
"""Seconds between two polls whether an object has ended."""

ASK_SECONDS = 1.5
"""How long to wait for Airflow's answer; it kills the process 5 s after the signal."""

TRIGGERER_ASK_SECONDS = 120.0
"""How long to wait for Airflow's answer in a triggerer. The first one may take half a minute, since the part
that answers is loaded only then."""

LOG_SECONDS = 5.0
"""How long a trigger stays once it has said what became of its object. A triggerer closes the log of a
trigger that has ended, even where lines are still on their way to it: under load they are late by up to a
second."""

REFUSALS = (QianfanOperationFailedError, QianfanRequestError)
"""What the service may answer for an object that has ended. Which is not documented: its state decides."""

# The state of the task after a user has marked it, or where no further attempt follows.
_ENDED = frozenset({"failed", "success", "skipped", "upstream_failed", "removed"})

_NOT_ENDED = "it has not ended within %g s"

Steps = Generator["Action[Any] | float", Any, "RemoteObject"]


def stop_steps(target: Target, *, pause: float = PAUSE, wait: bool = True) -> Steps:
    """Yield the requests and pauses in seconds that stop an object; return it as it is at the end.

    Whoever runs the steps sends a request and gives back its result, or throws its error.

    :param target: what to stop.
    :param pause: seconds between two polls whether it has ended.
    :param wait: whether to poll until it has ended.
    :raises QianfanAPIError: the service refuses, and the object goes on.
    """
    refusal = None
    request = target.kind.stop(target.object_id)
    if request is None:
        raise ValueError(f"the service cannot stop a {target.kind.noun}")
    try:
        yield request
    except REFUSALS as error:
        refusal = error
    found: RemoteObject = yield target.request()
    if refusal is not None and not (found.has_ended or refusal.after_lost_answer):
        raise refusal
    while wait and not found.has_ended:
        yield pause
        found = yield target.request()
    return found


def insistent_stop_steps(target: Target, *, pause: float = PAUSE) -> Steps:
    """Yield the requests and pauses that stop an object, again and again until that is verified.

    Unlike with :func:`stop_steps`, errors that may pass are tolerated; whoever runs the steps sets the limit.

    :param target: what to stop.
    :param pause: seconds between two tries; more where the service asks for more.
    :raises QianfanError: an error that will not pass.
    """
    request = target.kind.stop(target.object_id)
    if request is None:
        raise ValueError(f"the service cannot stop a {target.kind.noun}")
    while True:
        asked = 0.0
        for step in (request, target.request()):
            try:
                found = yield step
            except QianfanError as error:
                if not (error.transient or isinstance(error, REFUSALS)):
                    raise
                if isinstance(error, QianfanAPIError) and error.retry_after:
                    asked = error.retry_after
                    break
            else:
                if step is not request and found.has_ended:
                    last: RemoteObject = found
                    return last
        yield max(pause, asked)


def run_steps(steps: Steps, hook: QianfanHook, *, seconds: float) -> RemoteObject:
    """Run the steps that stop an object, and return it as it is at the end.

    :param steps: see :func:`stop_steps` and :func:`insistent_stop_steps`.
    :param hook: what sends the requests.
    :param seconds: how long to try at most.
    :raises QianfanWaitTimeoutError: it has not ended by then.
    """
    from airflow_qianfan.api.objects import RemoteObject

    deadline = time.monotonic() + seconds
    found: RemoteObject | None = None
    step = next(steps)
    while True:
        try:
            if isinstance(step, float):
                left = deadline - time.monotonic()
                if left <= 0:
                    steps.close()
                    rest = "" if found is None else f" and is still {found.state.shown}"
                    raise QianfanWaitTimeoutError(f"it has not ended within {seconds:g} s{rest}")
                time.sleep(min(step, left))
                answer = None
            else:
                answer = hook.call(step)
        except QianfanWaitTimeoutError:
            raise
        except QianfanError as error:
            step = steps.throw(error)
        else:
            found = answer if isinstance(answer, RemoteObject) else found
            try:
                step = steps.send(answer)
            except StopIteration as end:
                last: RemoteObject = end.value
                return last


async def arun_steps(steps: Steps, hook: QianfanHook, *, seconds: float) -> RemoteObject:
    """Run the steps that stop an object without blocking the event loop; see :func:`run_steps`."""
    async with asyncio.timeout(seconds), hook.async_client() as client:
        step = next(steps)
        while True:
            try:
                answer = await (asyncio.sleep(step) if isinstance(step, float) else client.call(step))
            except QianfanError as error:
                step = steps.throw(error)
            else:
                try:
                    step = steps.send(answer)
                except StopIteration as end:
                    found: RemoteObject = end.value
                    return found


def stop_object(hook: QianfanHook, target: Target, why: str, log: Logger, *, seconds: float) -> bool:
    """Stop an object, and try until it has ended; return whether it has.

    :param hook: a hook that nothing else uses, with a short ``timeout``.
    :param target: what to stop.
    :param why: the reason, for the log.
    :param log: the log of the Airflow task.
    :param seconds: how long to try.
    """
    try:
        return _report(target, run_steps(insistent_stop_steps(target), hook, seconds=seconds), why, log)
    except AirflowException as error:
        return _report(target, error, why, log)


async def astop_object(hook: QianfanHook, target: Target, why: str, log: Logger, *, seconds: float) -> bool:
    """Stop an object without blocking the event loop; see :func:`stop_object`."""
    try:
        found = await arun_steps(insistent_stop_steps(target), hook, seconds=seconds)
        return _report(target, found, why, log)
    except AirflowException as error:
        return _report(target, error, why, log)
    except TimeoutError:
        return _report(target, QianfanWaitTimeoutError(_NOT_ENDED % seconds), why, log)
    except Exception as error:
        # Nobody would see it: who asked for the stop has been cancelled. Its text may hold anything.
        return _report(target, AirflowException(f"unexpected {type(error).__name__}"), why, log)


_STOPPING: set[asyncio.Task[Any]] = set()
# An event loop keeps weak references only.


async def stop_if_user_ended_task(
    hook: QianfanHook, target: Target, ti: Any, log: Logger, *, seconds: float
) -> None:
    """Stop an object whose trigger Airflow has cancelled, if that was because a user has ended the task.

    Airflow cancels a trigger in the same way where it has only moved to another triggerer; and it cancels
    whatever the trigger does then again and again. So Airflow is asked, and the stop is a task of its own.

    :param hook: a hook that nothing else uses.
    :param target: what to stop.
    :param ti: the task instance that waited for it.
    :param log: the log of the Airflow task.
    :param seconds: how long to try, once Airflow has answered.
    """
    stopping = asyncio.create_task(_stop_and_stay(hook, target, ti, log, seconds))
    _STOPPING.add(stopping)
    stopping.add_done_callback(_STOPPING.discard)
    while not stopping.done():
        with suppress(asyncio.CancelledError):
            await asyncio.shield(stopping)


async def _stop_and_stay(hook: QianfanHook, target: Target, ti: Any, log: Logger, seconds: float) -> None:
    await _stop_if_user_ended_task(hook, target, ti, log, seconds)
    await asyncio.sleep(LOG_SECONDS)


async def _stop_if_user_ended_task(
    hook: QianfanHook, target: Target, ti: Any, log: Logger, seconds: float
) -> None:
    try:
        async with asyncio.timeout(TRIGGERER_ASK_SECONDS):
            state = await aget_task_state(ti)
    except Exception as error:
        log.error(
            "%s goes on: Airflow cancelled its trigger, but does not tell whether a user ended the task "
            "(%s). If so, stop it in the console.",
            target.label,
            type(error).__name__,
        )
        return
    if state in _ENDED:
        why = f"a user ended the Airflow task that waited for it: it is {state}"
        await astop_object(hook, target, why, log, seconds=seconds)
    else:
        log.info(
            "%s goes on: its task is %s, so another triggerer or attempt takes over.", target.label, state
        )


def _report(target: Target, outcome: RemoteObject | AirflowException, why: str, log: Logger) -> bool:
    if isinstance(outcome, AirflowException):
        log.error(
            "Stopping %s, since %s, did not succeed: %s. It may go on and cost money: look in the console.",
            target.label,
            why,
            str(outcome).rstrip("."),
        )
        return False
    log.info("Stopped %s, since %s: it is %s.", target.label, why, outcome.status)
    return True


def user_has_ended_task(left: Any = None, *, or_cleared: bool = False) -> bool:
    """Return whether nobody wants the running task any more.

    It is not so where a worker or scheduler is replaced, or Airflow has lost touch with the worker: then the
    task is still running, or waits for its next attempt.

    :param left: the task instance, where its execution is over, and Airflow's context with it: its result,
        error or deferral is on the way to Airflow.
    :param or_cleared: whether a clear counts, too.
    """
    try:
        ti: Any = left or get_current_context()["ti"]
    except RuntimeError:
        return True
    states: list[str | None] = []

    def ask() -> None:
        with suppress(Exception):
            found = ti.get_task_states(
                dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
            )
            states.extend(found.get(ti.run_id, {}).values())

    # The signal may have interrupted this thread while it talked to Airflow and held the lock for that.
    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    thread.join(ASK_SECONDS)
    return bool(states) and (states[0] in _ENDED or (or_cleared and states[0] == "restarting"))
