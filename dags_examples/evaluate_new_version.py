"""Evaluate each new version of a model set, as soon as a task of another DAG has published it.

The DAG is scheduled by the asset ``qianfan://qianfan.baidubce.com/model-sets/am-…``, which gets an event with
each version that operators of this package publish; nothing is added to the DAG that publishes. Put the ids
of your model set and data set in place of those below. Triggered by hand, it evaluates the version in
``model_id``.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param, task

from airflow_qianfan.assets import model_set_asset, new_versions
from airflow_qianfan.operators.evaluation import QianfanEvaluationOperator

MODEL_SET_ID = "am-0123456789ab"

with DAG(
    dag_id="evaluate_new_version",
    description="Evaluate what another DAG has published on Qianfan",
    schedule=model_set_asset(MODEL_SET_ID),
    catchup=False,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "model_id": Param("", type="string", description="Version, where no event names one"),
        "dataset_version_id": Param(
            "ds-0123456789abcdef", type="string", description="Version of a data set to evaluate with"
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
) as dag:
    # [START howto_new_versions]
    @task.short_circuit
    def versions(params=None, triggering_asset_events=None):
        """Return what is to be evaluated, if anything is: several versions may have come at once."""
        published = [version["model_id"] for version in new_versions(triggering_asset_events)]
        models = [{"modelId": model_id} for model_id in published or [params["model_id"]] if model_id]
        if not models:
            return None
        return {"evalModelConfig": {"versionId": params["dataset_version_id"], "evalModelConfigList": models}}

    # [END howto_new_versions]

    QianfanEvaluationOperator(
        task_id="evaluate",
        eval_object_config=versions(),
        eval_config={"evalMode": "rule"},
        deferrable=True,
        execution_timeout=timedelta(hours=6),
    )
