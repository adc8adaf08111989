"""The triggers that are compared: from interval and port to what makes one for a training and its job.

Each function imports its own, so that no contender pays for another.
"""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from types import SimpleNamespace
from typing import Any

from benchmarks.trainings import Training

Make = Callable[[Training, str], Any]


def connections(port: int) -> dict[str, str]:
    """Return the environment variables of all connections, to a server on this machine."""
    address = {"host": "127.0.0.1", "schema": "http", "port": port}
    extra = {"region_name": "eu-west-1", "endpoint_url": f"http://127.0.0.1:{port}"}
    key: dict[str, Any] = {"login": "1", "password": "secret"}
    values = {
        "QIANFAN": {"conn_type": "qianfan", **key, **address},
        "DATABRICKS": {"conn_type": "databricks", "password": "token", **address},
        "DBT_CLOUD": {"conn_type": "dbt_cloud", **key, "host": f"127.0.0.1:{port}"},
        "AWS": {"conn_type": "aws", **key, "extra": extra},
    }
    return {f"AIRFLOW_CONN_{name}_DEFAULT": json.dumps(value) for name, value in values.items()}


def ours(interval: float, port: int) -> Make:
    from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger

    return lambda training, job: QianfanFineTuningTaskTrigger(
        fine_tuning_task_id=f"task-{training.number}",
        fine_tuning_job_id=job,
        poll_interval=interval,
        max_poll_interval=20 * interval,
        started=training.created,
    )


def databricks(interval: float, port: int) -> Make:
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger as Trigger

    return lambda training, job: Trigger(
        training.number, "databricks_default", polling_period_seconds=interval
    )


def dbt_cloud(interval: float, port: int) -> Make:
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger as Trigger

    original: Any = DbtCloudHook.get_request_url_params

    def without_tls(*args: Any, **kwargs: Any) -> Any:
        url, parameters = original(*args, **kwargs)
        return url.replace("https:", "http:", 1), parameters

    setattr(DbtCloudHook, "get_request_url_params", staticmethod(without_tls))  # noqa: B010
    end = time.time() + 86_400
    return lambda training, job: Trigger("dbt_cloud_default", training.number, end, interval, 1)


def sagemaker(interval: float, port: int) -> Make:
    from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger as Trigger

    return lambda training, job: Trigger(
        f"job-{training.number}", "training", waiter_delay=interval, waiter_max_attempts=100_000
    )


def raw(interval: float, port: int) -> Make:
    """Send over one httpx client: the least that a poll costs."""
    import asyncio

    import httpx

    client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=10))
    url = f"http://127.0.0.1:{port}/v2/finetuning?Action=DescribeFineTuningTask"

    class Trigger:
        def __init__(self, training: Training, job: str) -> None:
            self._body = {"taskId": f"task-{training.number}"}

        async def run(self) -> AsyncIterator[Any]:
            while True:
                answer = await client.post(url, json=self._body, timeout=60)
                if answer.json()["result"]["runStatus"] == "Done":
                    yield SimpleNamespace(payload={})
                    return
                await asyncio.sleep(interval)

    return Trigger


TRIGGERS = {
    "ours": ours,
    "databricks": databricks,
    "dbt_cloud": dbt_cloud,
    "sagemaker": sagemaker,
    "raw": raw,
}
