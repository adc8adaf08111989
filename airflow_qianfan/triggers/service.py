"""Waits for a service."""

from __future__ import annotations

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanServiceTrigger(QianfanTrigger):
    """Polls a service until it is Serving, and no update goes on, or it has failed or is stopped.

    Takes ``service_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "service.Service"
    id_name = "service_id"
