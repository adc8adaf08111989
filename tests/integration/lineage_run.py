"""Runs two DAGs in a process in which Airflow loads its OpenLineage provider.

Airflow reads the settings of that provider once for each process.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.sdk import DAG

from airflow_qianfan.compat import store_dag
from airflow_qianfan.operators.evaluation import QianfanEvaluationOperator
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator
from airflow_qianfan.operators.service import QianfanServiceOperator

TRAINING: dict[str, Any] = {
    "model": "ERNIE-Speed-8K",
    "train_mode": "SFT",
    "parameter_scale": "LoRA",
    "hyper_parameter_config": '{"epoch": 1, "learningRate": 0.0003}',
    "validate": "off",
}
EVAL_DATA = "ds-0123456789abcdef"


def chain() -> DAG:
    """From files to a service."""
    with DAG("lineage_chain", schedule=None) as dag:
        data = QianfanDatasetOperator(
            task_id="data",
            data_format="PromptResponse",
            storage_path="bos:/my-bucket/faq/",
            files="bos:/my-bucket/faq/today.jsonl",
            deferrable=True,
        )
        train = QianfanFineTuningOperator(
            task_id="train",
            dataset_config={
                "sourceType": "Platform",
                "versions": [{"versionId": data.output["dataset_version_id"]}],
            },
            deferrable=True,
            **TRAINING,
        )
        model_set = QianfanCreateCustomModelSetOperator(
            task_id="model_set", model_set_name="faq", model_type="Text2Text"
        )
        publish = QianfanCreateCustomModelOperator(
            task_id="publish",
            model_set_id=model_set.output["model_set_id"],
            fine_tuning_task_id=train.output["fine_tuning_task_id"],
            wait_for_completion=True,
        )
        QianfanEvaluationOperator(
            task_id="evaluate",
            eval_object_config={
                "evalModelConfig": {
                    "versionId": EVAL_DATA,
                    "evalModelConfigList": [{"modelId": publish.output["model_id"]}],
                }
            },
            eval_config={"evalMode": "rule"},
        )
        QianfanServiceOperator(
            task_id="deploy",
            model_set_id=publish.output["model_set_id"],
            model_id=publish.output["model_id"],
            resource_config={"type": "GPU-1-1"},
            billing={"paymentTiming": "Postpaid"},
            deferrable=True,
        )
    return dag


def failing() -> DAG:
    """A training that fails while its task is deferred."""
    with DAG("lineage_failing", schedule=None) as dag:
        QianfanFineTuningOperator(
            task_id="train",
            name="fails",
            dataset_config={"sourceType": "Platform", "versions": [{"versionId": EVAL_DATA}]},
            deferrable=True,
            execution_timeout=timedelta(minutes=5),
            **TRAINING,
        )
    return dag


if __name__ == "__main__":
    for dag in chain(), failing():
        store_dag(dag, "dags-folder")
        dag.test()
