"""Waits for a model version."""

from __future__ import annotations

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanModelTrigger(QianfanTrigger):
    """Polls a model version until it is Ready or has failed.

    Takes ``model_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "model.Model"
    id_name = "model_id"
