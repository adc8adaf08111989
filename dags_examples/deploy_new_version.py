"""Deploy each version of a model set that becomes Ready, whoever published it, a person in the console too.

A watcher in the triggerer polls the model set; see docs/assets.md. Where several versions have come at once,
the newest is deployed. Put the ids of your model set and service in place of those below. Triggered by hand,
the DAG deploys the version in ``model_id``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_qianfan.assets import new_versions, watched_model_set_asset
from airflow_qianfan.operators.service import QianfanServiceOperator

MODEL_SET_ID = "am-0123456789ab"

with DAG(
    dag_id="deploy_new_version",
    description="Deploy what anybody has published on Qianfan",
    schedule=watched_model_set_asset(MODEL_SET_ID),
    catchup=False,
    max_active_runs=1,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "model_set_id": Param(MODEL_SET_ID, type="string", description="Model set of the version"),
        "model_id": Param("", type="string", description="Version, where no event names one"),
        "service_id": Param("svco-0123456789ab", type="string", description="The service that serves it"),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
) as dag:

    @task.short_circuit
    def newest(params=None, triggering_asset_events=None):
        """Return the newest version of those that started this run; without one, deploy nothing."""
        model_ids = [version["model_id"] for version in new_versions(triggering_asset_events)]
        return model_ids[-1] if model_ids else params["model_id"]

    QianfanServiceOperator(
        task_id="deploy",
        service_id="{{ params.service_id }}",
        model_set_id="{{ params.model_set_id }}",
        model_id=newest(),
        smoke_test="Which plans do you offer?",
        roll_back=True,
        deferrable=True,
        execution_timeout=timedelta(hours=2),
    )
