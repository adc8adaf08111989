"""Waits for a model version."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from airflow_qianfan.links import QianfanModelLink
from airflow_qianfan.sensors.base import QianfanSensor
from airflow_qianfan.triggers.model import QianfanModelTrigger


class QianfanModelSensor(QianfanSensor):
    """Waits until a model version is Ready; fails when its creation failed.

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``model``, ``description``,
    ``is_support_deploy`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64

    :param model_id: the version, ``amv-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.sensors.base.QianfanSensor`.
    """

    template_fields: Sequence[str] = (*QianfanSensor.template_fields, "model_id")
    operator_extra_links = (QianfanModelLink(),)

    def __init__(self, *, model_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_id = model_id

    def make_trigger(self, **kwargs: Any) -> QianfanModelTrigger:
        """Return the trigger that looks at the version."""
        return QianfanModelTrigger(
            model_id=self.model_id,
            qianfan_conn_id=self.qianfan_conn_id,
            poll_interval=self.poke_interval,
            max_poll_interval=self.max_poll_interval,
            max_poll_failures=self.max_poll_failures,
            **kwargs,
        )
