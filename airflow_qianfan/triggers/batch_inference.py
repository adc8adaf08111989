"""Wait for a batch inference, or until one may be created."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanBatchInferenceTaskTrigger(QianfanTrigger):
    """Polls a batch inference task until it is Done, Failed, Expired or Stopped.

    Takes ``batch_inference_task_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "batch_inference.BatchInferenceTask"
    id_name = "batch_inference_task_id"


class QianfanQuotaPause(BaseTrigger):
    """Waits until a Create that met a full quota is tried again. It calls nothing.

    :param moment: until when, in seconds since the epoch.
    :param started: since when the quota is waited for, in seconds since the epoch.
    :param tries: how often the Create was refused.
    :param deadline: when to give up, in seconds since the epoch; None for never.
    """

    def __init__(self, *, moment: float, started: float, tries: int, deadline: float | None = None) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.moment = moment
        self.started = started
        self.tries = tries
        self.deadline = deadline

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        return f"{type(self).__module__}.{type(self).__qualname__}", {
            "moment": self.moment,
            "started": self.started,
            "tries": self.tries,
            "deadline": self.deadline,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, from which the task goes on."""
        await asyncio.sleep(max(0.0, self.moment - time.time()))
        event = {"started": self.started, "tries": self.tries, "deadline": self.deadline}
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]
