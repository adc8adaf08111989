"""Waits for a compute unit."""

from __future__ import annotations

from airflow_qianfan.triggers.base.trigger import QianfanTrigger


class QianfanComputeUnitTrigger(QianfanTrigger):
    """Polls a compute unit until it is Running, or has failed or is released.

    Takes ``compute_unit_id``; else see :class:`airflow_qianfan.triggers.base.trigger.QianfanTrigger`.
    """

    kind_path = "service.ComputeUnit"
    id_name = "compute_unit_id"
