"""Wait for an evaluation, or for an export of its results."""

from __future__ import annotations

from typing import Any, Literal

from airflow_qianfan import links
from airflow_qianfan.arguments import option, templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanEvalTaskSensor(QianfanSensor):
    """Waits until an evaluation task is Successed; fails when it is Failed or Stopped.

    Returns ``eval_task_id``, ``task_name``, ``eval_type``, ``status``, ``state_text`` (the service's own
    word) and ``console_url``. ``QianfanDescribeEvalTaskReportOperator`` reads what it has measured.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/qmm4v8csa
    """

    trigger_path = "evaluation.QianfanEvalTaskTrigger"
    operator_extra_links = links.EVALUATION

    eval_task_id: str = templated("the task, ``ame-…``.")
    manual: Literal["wait", "fail"] = option(
        "what to do while a person has to judge answers in the console (``RunningWithManualBegin``): "
        "``wait`` until ``timeout``, with a warning in the log, or ``fail``.",
        default="wait",
    )

    def _poll_options(self) -> dict[str, Any]:
        return {**super()._poll_options(), "manual": self.manual}


class QianfanEvalResultExportTaskSensor(QianfanSensor):
    """Waits until an export of evaluation results has Succeeded; fails when it has Failed.

    Returns ``eval_result_export_task_id``, ``status``, ``status_text`` (the service's own word) and
    ``download_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/omm4vm3ot
    """

    trigger_path = "evaluation.QianfanEvalResultExportTaskTrigger"

    eval_result_export_task_id: str = templated("the export, ``amemt-…``.")
