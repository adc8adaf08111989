"""Waits for a batch inference."""

from __future__ import annotations

from airflow_qianfan.arguments import templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanBatchInferenceTaskSensor(QianfanSensor):
    """Waits until a batch inference task is Done; fails when it is Failed, Expired or Stopped.

    Returns ``batch_inference_task_id``, ``name``, ``status``, ``run_status`` (the service's own word),
    ``progress``, ``rows``, ``total_rows``, ``input_tokens``, ``output_tokens``, ``result_uri`` (the directory
    of the answers), ``error_code`` and ``error_reason``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Gmo1g4hxg
    """

    trigger_path = "batch_inference.QianfanBatchInferenceTaskTrigger"

    batch_inference_task_id: str = templated("the task, ``infer-…``.")
