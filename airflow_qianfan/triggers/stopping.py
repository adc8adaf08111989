"""Stops a training when the Airflow task that waited for it is ended, within seconds and without raising."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from airflow.sdk.exceptions import AirflowException

from airflow_qianfan.exceptions import QianfanOperationFailedError, QianfanRequestError

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_qianfan.api.actions.finetuning import FineTuningTask
    from airflow_qianfan.hooks.qianfan import QianfanHook

PAUSE = 0.5
"""Seconds between two looks whether the training has ended."""

# What the service answers for a training that has ended is not documented: its state decides.
_REFUSALS = (QianfanOperationFailedError, QianfanRequestError)


def stop_training(hook: QianfanHook, task_id: str, why: str, log: Logger, *, seconds: float) -> bool:
    """Stop a training, and look until it has ended; return whether it has.

    :param hook: a hook that nothing else uses, with a short ``timeout``.
    :param task_id: the fine-tuning task.
    :param why: who wants it, for the log.
    :param log: the log of the Airflow task.
    :param seconds: how long to look.
    """
    from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask, StopFineTuningTask

    deadline = time.monotonic() + seconds
    try:
        try:
            hook.call(StopFineTuningTask(task_id=task_id))
        except _REFUSALS as error:
            log.info("The service refuses to stop it: %s", error)
        task = hook.call(DescribeFineTuningTask(task_id=task_id))
        while not task.status.is_terminal and time.monotonic() < deadline:
            time.sleep(PAUSE)
            task = hook.call(DescribeFineTuningTask(task_id=task_id))
    except AirflowException as error:
        return _report_failure(task_id, why, log, error)
    return _report(task, why, log)


async def astop_training(hook: QianfanHook, task_id: str, why: str, log: Logger, *, seconds: float) -> bool:
    """Stop a training without blocking the event loop; see :func:`stop_training`."""
    from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask, StopFineTuningTask

    try:
        async with asyncio.timeout(seconds), hook.async_client() as client:
            try:
                await client.call(StopFineTuningTask(task_id=task_id))
            except _REFUSALS as error:
                log.info("The service refuses to stop it: %s", error)
            task = await client.call(DescribeFineTuningTask(task_id=task_id))
            while not task.status.is_terminal:
                await asyncio.sleep(PAUSE)
                task = await client.call(DescribeFineTuningTask(task_id=task_id))
    except (AirflowException, TimeoutError) as error:
        return _report_failure(task_id, why, log, error)
    return _report(task, why, log)


def _report(task: FineTuningTask, why: str, log: Logger) -> bool:
    if task.status.is_terminal:
        log.info(
            "Fine-tuning task %s is %s: it was told to stop, since %s.", task.task_id, task.run_status, why
        )
        return True
    log.warning(
        "Fine-tuning task %s was told to stop, since %s, and is still %s.", task.task_id, why, task.run_status
    )
    return False


def _report_failure(task_id: str, why: str, log: Logger, error: BaseException) -> bool:
    log.error(
        "Fine-tuning task %s should stop, since %s, but may still run: %s",
        task_id,
        why,
        error if str(error) else type(error).__name__,
    )
    return False
