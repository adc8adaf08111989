"""Operators of batch inference: one for each Action, and one that does the whole step."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan.arguments import member, option
from airflow_qianfan.compat import AirflowTaskTimeout
from airflow_qianfan.exceptions import QianfanExecutionTimeoutError, QianfanQuotaError
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.stop import QianfanStopOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator
from airflow_qianfan.report import report_errors
from airflow_qianfan.triggers.base.progress import duration

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

TASK = "batch_inference.BatchInferenceTask"

PAUSE_GROWTH = 1.5
"""How many times as long the next pause is while the quota stays full."""

LAST_TRY = 5.0
"""Seconds before ``execution_timeout`` at which the Create is tried for the last time, to hear its answer."""


class _TaskArguments(QianfanWaitingOperator):
    """The arguments that describe a batch inference."""

    name: str | None = member("name of the task; None makes one from the DAG and its run.", default=None)
    description: str | None = member(
        "what it is for; a mark is added by which the task is found again.", default=None
    )
    model_id: str | None = member("model version, ``amv-…``; give this or ``endpoint``.", default=None)
    endpoint: str | None = member("full address of a service.", default=None)
    input_bos_uri: str | None = member(
        "directory with files of prompts, ``bos:/bucket/dir``; one line of JSON for each.", default=None
    )
    output_bos_uri: str | None = member("directory for the answers, ``bos:/bucket/dir``.", default=None)
    inference_params: Mapping[str, Any] | str | None = member(
        "``temperature``, ``top_p`` …; passed through.", default=None, json=True
    )
    afs_config: Mapping[str, Any] | str | None = member(
        "instead of the two directories, Baidu's own file system: ``userName``, ``password``, "
        "``inputAfsUri``, ``outputAfsUri``; passed through.",
        default=None,
        json=True,
    )
    completion_window: str | None = member("how long it may take at the service, ``24h``.", default=None)


class QianfanCreateBatchInferenceTaskOperator(_TaskArguments):
    """Start a batch inference (CreateBatchInferenceTask). Returns ``batch_inference_task_id`` and ``name``.

    With ``wait_for_completion`` it waits for its end, and returns what
    :class:`QianfanDescribeBatchInferenceTaskOperator` does. A full quota is an error;
    :class:`QianfanBatchInferenceOperator` waits for a free place.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/0lvggjek6
    """

    action = "batch_inference.CreateBatchInferenceTask"
    kind_path = TASK
    trigger_path = "batch_inference.QianfanBatchInferenceTaskTrigger"

    wait_for_completion: bool = option("wait until the task has ended.", default=False)


class QianfanDescribeBatchInferenceTaskOperator(QianfanRequestOperator):
    """Describe a batch inference (DescribeBatchInferenceTask), in whatever state it is.

    Returns ``batch_inference_task_id``, ``name``, ``status``, ``run_status`` (the service's own word),
    ``progress`` (share, 0 to 1), ``rows``, ``total_rows``, ``input_tokens``, ``output_tokens``,
    ``result_uri`` (the directory of the answers), ``error_code`` and ``error_reason``. What the service does
    not tell is None.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Gmo1g4hxg
    """

    action = "batch_inference.DescribeBatchInferenceTask"

    batch_inference_task_id: str = member("the task, ``infer-…``.", name="task_id")


class QianfanDescribeBatchInferenceTasksOperator(QianfanListOperator):
    """List the batch inferences of the account (DescribeBatchInferenceTasks). Returns a list of dicts like
    those of :class:`QianfanDescribeBatchInferenceTaskOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Kmo1g1pvy
    """

    action = "batch_inference.DescribeBatchInferenceTasks"

    run_status: Sequence[str] | str | None = member(
        "only tasks in this state, or one of these, such as ``Running``.", default=None, json=True
    )


class QianfanStopBatchInferenceTaskOperator(QianfanStopOperator):
    """Stop a batch inference (StopBatchInferenceTask). Returns ``batch_inference_task_id``, ``status`` and
    ``run_status``.

    A task that has ended already is left as it is: ``status`` tells how it ended. It is None where the task
    does not exist and ``if_missing`` ignores that.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Tmo1fqp46
    """

    action = "batch_inference.StopBatchInferenceTask"
    kind_path = TASK

    batch_inference_task_id: str = member("the task, ``infer-…``.", name="task_id")


class QianfanDescribeBatchInferenceModelOperator(QianfanRequestOperator):
    """Show which models a batch inference can use (DescribeBatchInferenceModel).

    Returns ``common_models`` and ``custom_models``: lists of dicts with ``model_set_id``, ``model_set_name``
    and ``versions``, each of which has ``model_id`` and ``model_name``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/5mo1fxxjr
    """

    action = "batch_inference.DescribeBatchInferenceModel"


class QianfanBatchInferenceOperator(_TaskArguments):
    """Answer many prompts in one step: wait for a free place, create a batch inference, wait for its end.

    An account may have 20 tasks that are not over. While it has as many, the Create is tried again, with
    growing pauses between ``poll_interval`` and ``max_poll_interval``, until ``execution_timeout``; nothing
    has been created until then. With ``deferrable`` this wait is in the triggerer, too.

    One run of this task costs exactly one batch inference, whatever crashes: a retry attaches to that of the
    attempt before, unless that has failed or was stopped. A cleared task does it anew, unless it still goes
    on and has the same arguments; see ``on_clear``.

    Returns what :class:`QianfanDescribeBatchInferenceTaskOperator` does, ``result_uri`` among it; without
    ``wait_for_completion`` only ``batch_inference_task_id`` and ``name``. The id is an XCom as soon as it is
    known.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/0lvggjek6
    """

    action = "batch_inference.CreateBatchInferenceTask"
    custom_operator_name = "Batch inference"
    kind_path = TASK
    trigger_path = "batch_inference.QianfanBatchInferenceTaskTrigger"

    def __post_init__(self) -> None:
        super().__post_init__()
        self._waits_since: float | None = None
        self._refusals = 0

    @property
    def batch_inference_task_id(self) -> str | None:
        """The task, once it is known."""
        return self.object_id

    def submit(self, context: Context) -> dict[str, Any]:
        """Create the task as soon as there is a free place, and return its ids.

        :raises QianfanExecutionTimeoutError: there was none until ``execution_timeout``.
        """
        while True:
            try:
                return super().submit(context)
            except QianfanQuotaError as error:
                moment = self._next_try(error)
            if self.deferrable:
                self.defer(trigger=self._make_pause(moment), method_name="create_again")
            try:
                time.sleep(max(0.0, moment - time.time()))
            except AirflowTaskTimeout:
                raise self._quota_stayed_full() from None

    def _next_try(self, refusal: QianfanQuotaError) -> float:
        """Return when the Create is tried again, in seconds since the epoch.

        :raises QianfanExecutionTimeoutError: that would be too late.
        """
        now, deadline = time.time(), self.deadline()
        self._waits_since = self._waits_since or now
        shortest, longest = float(self.poll_interval or 0), float(self.max_poll_interval or 0)
        pause = min(shortest * PAUSE_GROWTH ** min(self._refusals, 30), max(shortest, longest))
        self._refusals += 1
        # Tasks that wait for the same place should not all ask at the same time.
        moment = now + pause * random.uniform(0.9, 1.1)  # noqa: S311
        if deadline is not None:
            moment = min(moment, deadline - LAST_TRY)
        if moment <= now:
            raise self._quota_stayed_full() from refusal
        self.log.info(
            "The quota is full, after %s of waiting for a free place; trying again in %s: %s",
            duration(now - self._waits_since),
            duration(moment - now),
            refusal.what_happened(),
        )
        return moment

    def _quota_stayed_full(self) -> QianfanExecutionTimeoutError:
        return QianfanExecutionTimeoutError(
            f"execution_timeout is over: {self.execution_timeout}; the quota was full all the time, and no "
            f"{self.kind.noun} was created"
        )

    def _make_pause(self, moment: float) -> BaseTrigger:
        from airflow_qianfan.triggers.batch_inference import QianfanQuotaPause

        return QianfanQuotaPause(
            moment=moment,
            started=self._waits_since or time.time(),
            tries=self._refusals,
            deadline=self.deadline(),
        )

    def create_again(self, context: Context, event: dict[str, Any] | None = None) -> dict[str, Any]:
        """Take over from the trigger that has waited for a free place; see :meth:`execute`."""
        event = event if isinstance(event, dict) else {}
        self._waits_since = event.get("started")
        self._refusals = event.get("tries") or 0
        self._deadline = event.get("deadline")
        with report_errors(self.log, self.qianfan_conn_id):
            result = self.result = self.run_action(context)
            return result
