"""Waits for a service."""

from __future__ import annotations

from airflow_qianfan import links
from airflow_qianfan.arguments import templated
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanServiceSensor(QianfanSensor):
    """Waits until a service is Serving, and no update of it goes on; fails when it is Failed or Stopped.

    A service that nobody has paid for may stay ``New`` for ever: give the sensor a ``timeout``.

    Returns ``service_id``, ``name``, ``model_set_id``, ``model_id``, ``url``, ``endpoint``, ``service_type``,
    ``status``, ``run_status`` (the service's own word), ``update_status``, ``charge_type``, ``pay_type``,
    ``create_time`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/zmm1xw37v
    """

    trigger_path = "service.QianfanServiceTrigger"
    operator_extra_links = links.SERVICE

    service_id: str = templated("the service, ``svco-…``.")
