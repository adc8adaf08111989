"""The triggers that are compared, each for a synthetic training, and the connections they read."""

from __future__ import annotations

import json
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from benchmarks.trainings import Training


class Trigger(Protocol):
    """What a triggerer asks of a trigger."""

    def run(self) -> AsyncIterator[Any]:
        """Yield events."""


Make = Callable[[Training, str], Trigger]
"""Makes a trigger for a training of a job."""


def connections(port: int) -> dict[str, str]:
    """Return the environment variables of all connections, to a server on this machine."""
    address = {"host": "127.0.0.1", "schema": "http", "port": port}
    extra = {"region_name": "eu-west-1", "endpoint_url": f"http://127.0.0.1:{port}"}
    all_of_them: dict[str, dict[str, Any]] = {
        "QIANFAN_DEFAULT": {"conn_type": "qianfan", "login": "access", "password": "secret", **address},
        "DATABRICKS_DEFAULT": {"conn_type": "databricks", "password": "token", **address},
        "DBT_CLOUD_DEFAULT": {"conn_type": "dbt_cloud", "login": "1", "password": "token"}
        | {"host": f"127.0.0.1:{port}"},
        "AWS_DEFAULT": {"conn_type": "aws", "login": "access", "password": "secret", "extra": extra},
    }
    return {f"AIRFLOW_CONN_{name}": json.dumps(value) for name, value in all_of_them.items()}


# Only the contender that is measured is imported.


def ours(interval: float, port: int) -> Make:
    """Make triggers of this package."""
    from airflow_qianfan.triggers.finetuning import QianfanFineTuningTaskTrigger

    return lambda training, job: QianfanFineTuningTaskTrigger(
        fine_tuning_task_id=f"task-{training.number}",
        fine_tuning_job_id=job,
        poll_interval=interval,
        max_poll_interval=20 * interval,
        started=training.created,
    )


def databricks(interval: float, port: int) -> Make:
    """Make triggers of Databricks' provider."""
    from airflow.providers.databricks.triggers.databricks import DatabricksExecutionTrigger as Execution

    return lambda training, job: Execution(
        training.number, "databricks_default", polling_period_seconds=interval
    )


def dbt_cloud(interval: float, port: int) -> Make:
    """Make triggers of dbt Cloud's provider, which knows no plain HTTP."""
    from airflow.providers.dbt.cloud.hooks.dbt import DbtCloudHook
    from airflow.providers.dbt.cloud.triggers.dbt import DbtCloudRunJobTrigger as RunJob

    original: Any = DbtCloudHook.get_request_url_params

    def without_tls(*args: Any, **kwargs: Any) -> Any:
        url, parameters = original(*args, **kwargs)
        return url.replace("https:", "http:", 1), parameters

    setattr(DbtCloudHook, "get_request_url_params", staticmethod(without_tls))  # noqa: B010
    end = time.time() + 86_400
    return lambda training, job: RunJob("dbt_cloud_default", training.number, end, interval, 1)


def sagemaker(interval: float, port: int) -> Make:
    """Make triggers of Amazon's provider."""
    from airflow.providers.amazon.aws.triggers.sagemaker import SageMakerTrigger

    return lambda training, job: SageMakerTrigger(
        f"job-{training.number}", "training", waiter_delay=interval, waiter_max_attempts=100_000
    )


def raw(interval: float, port: int) -> Make:
    """Make loops that send over one httpx client: the least that a poll costs."""
    import asyncio

    import httpx
    from airflow.triggers.base import TriggerEvent

    client = httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_connections=10))
    url = f"http://127.0.0.1:{port}/v2/finetuning?Action=DescribeFineTuningTask"

    class Raw:
        def __init__(self, training: Training, job: str) -> None:
            self._body = {"taskId": f"task-{training.number}"}

        async def run(self) -> AsyncIterator[Any]:
            while True:
                answer = await client.post(url, json=self._body, timeout=60)
                if answer.json()["result"]["runStatus"] == "Done":
                    yield TriggerEvent({"status": "success"})
                    return
                await asyncio.sleep(interval)

    return Raw


FACTORIES = {
    "ours": ours,
    "databricks": databricks,
    "dbt_cloud": dbt_cloud,
    "sagemaker": sagemaker,
    "raw": raw,
}
