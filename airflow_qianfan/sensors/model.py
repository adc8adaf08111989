"""Wait for model versions, and for what is done to them."""

from __future__ import annotations

from airflow_qianfan import links
from airflow_qianfan.arguments import templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanModelSensor(QianfanSensor):
    """Waits until a model version is Ready; fails when its creation failed.

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``status_text`` (the service's own
    word), ``model``, ``description``, ``is_support_deploy`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64
    """

    trigger_path = "model.QianfanModelTrigger"
    operator_extra_links = links.MODEL

    model_id: str = templated("the version, ``amv-…``.")


class QianfanModelCompTaskSensor(QianfanSensor):
    """Waits until a compression task has succeeded; fails when it has failed or was stopped.

    Returns ``model_comp_task_id``, ``name``, ``status``, ``status_text`` (the service's own word),
    ``failed_reason``, ``source_model_id``, ``model_id`` (the compressed version) and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Emm4awfhv
    """

    trigger_path = "model.QianfanModelCompTaskTrigger"
    operator_extra_links = links.MODEL

    model_comp_task_id: str = templated("the task, ``amva-…``.")


class QianfanModelExportSensor(QianfanSensor):
    """Waits until the latest export of a model version is Done; fails when it has failed.

    The service shows nothing of an export that has failed, as of one that was never created: where it has no
    record long after the waiting began, that is a failure. The connection's key needs a policy for writing.

    Returns ``model_id``, ``export_id``, ``has_record``, ``status``, ``status_text`` (the service's own word),
    ``file_name``, ``file_type``, ``file_size``, ``md5`` and ``console_url``. The link to the file is not
    among them, since events of triggers are logged: ``QianfanDescribeModelExportTaskOperator`` returns it.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/wmniloeoc
    """

    trigger_path = "model.QianfanModelExportTrigger"
    operator_extra_links = links.MODEL

    model_id: str = templated("the version, ``amv-…``; not the id of the export.")
