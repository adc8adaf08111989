"""Waits for a model version."""

from __future__ import annotations

from airflow_qianfan.arguments import templated
from airflow_qianfan.links import QianfanModelLink
from airflow_qianfan.sensors.base import QianfanSensor


class QianfanModelSensor(QianfanSensor):
    """Waits until a model version is Ready; fails when its creation failed.

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``status_text`` (the service's own
    word), ``model``, ``description``, ``is_support_deploy`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64
    """

    trigger_path = "model.QianfanModelTrigger"
    operator_extra_links = (QianfanModelLink(),)

    model_id: str = templated("the version, ``amv-…``.")
