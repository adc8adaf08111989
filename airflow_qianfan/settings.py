"""Settings of Airflow's configuration, section ``[qianfan]``; ``get_provider_info`` documents them."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_qianfan.compat import conf

DEFAULTS: Mapping[str, float] = {
    "poll_interval": 30.0,
    "max_poll_interval": 600.0,
    "polls_per_second": 2.0,
    "settle_seconds": 30.0,
}


def deployment() -> str:
    """Return what tells this deployment of Airflow apart where Airflow keeps nothing between attempts."""
    return conf.get("qianfan", "deployment", fallback="") or ""


def setting(name: str) -> float:
    """Return a setting.

    :param name: such as ``poll_interval``.
    """
    return conf.getfloat("qianfan", name, fallback=DEFAULTS[name])
