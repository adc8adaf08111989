"""Wait for an evaluation, or for an export of its results."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_qianfan.triggers.base.trigger import QianfanTrigger

if TYPE_CHECKING:
    from airflow_qianfan.triggers.base.polling import Manual, PollSettings


class QianfanEvalTaskTrigger(QianfanTrigger):
    """Polls an evaluation task until it is Successed, Failed or Stopped.

    Takes ``eval_task_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.

    :param manual: what to do while a person has to judge answers: ``wait`` until the deadline, or ``fail``.
    """

    kind_path = "evaluation.EvalTask"
    id_name = "eval_task_id"

    def __init__(self, *, manual: Manual = "wait", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.manual = manual

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return class path and arguments."""
        path, arguments = super().serialize()
        return path, {**arguments, "manual": self.manual}

    def poll_settings(self) -> PollSettings:
        """Return how the evaluation is polled."""
        return replace(super().poll_settings(), manual=self.manual)


class QianfanEvalResultExportTaskTrigger(QianfanTrigger):
    """Polls an export of evaluation results until it has Succeeded or Failed.

    Takes ``eval_result_export_task_id``; else see
    :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "evaluation.EvalResultExportTask"
    id_name = "eval_result_export_task_id"
