"""Wait for model versions, and for what is done to them."""

from __future__ import annotations

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanModelTrigger(QianfanTrigger):
    """Polls a model version until it is Ready or has failed.

    Takes ``model_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "model.Model"
    id_name = "model_id"


class QianfanModelCompTaskTrigger(QianfanTrigger):
    """Polls a compression task until it has succeeded, failed or was stopped.

    Takes ``model_comp_task_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "model.ModelCompTask"
    id_name = "model_comp_task_id"


class QianfanModelExportTrigger(QianfanTrigger):
    """Polls the latest export of a model version until it is Done, has failed or is missing for long.

    Takes ``model_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "model.ModelExport"
    id_name = "model_id"
