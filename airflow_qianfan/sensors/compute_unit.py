"""Waits for a compute unit."""

from __future__ import annotations

from airflow_qianfan.arguments import templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanComputeUnitSensor(QianfanSensor):
    """Waits until a compute unit is Running; fails when its creation failed, or it is released.

    Returns ``compute_unit_id``, ``status``, ``status_text`` (the service's own word), ``region``, ``type``
    and ``services``, a list as the service sends it.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/Gm4ta1xx9
    """

    trigger_path = "compute_unit.QianfanComputeUnitTrigger"

    compute_unit_id: str = templated("the unit, ``unit-…``.")
