"""Train and publish in two tasks: one that does the whole training, and one that publishes and waits.

Each run costs exactly one training and publishes exactly one version, whatever crashes. When the training
takes longer than ``execution_timeout``, or somebody marks its task as failed, it is stopped at Qianfan, too.
The model set comes first: where it cannot be had, nothing has been paid for yet.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

with DAG(
    dag_id="fine_tune",
    description="Fine-tune a model on Qianfan in one task, and publish it in another",
    schedule=None,
    catchup=False,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "model": Param(
            "ERNIE-Speed-8K",
            type="string",
            description="Base model",
            examples=["ERNIE-Speed-8K", "ERNIE-Lite-8K-0308"],
        ),
        "dataset_version_id": Param(
            "ds-0123456789abcdef", type="string", description="Published version of a data set"
        ),
        "model_set_name": Param(
            "airflow_fine_tune", type="string", description="Gets a version from each run"
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
) as dag:
    model_set = QianfanCreateCustomModelSetOperator(
        task_id="model_set", model_set_name="{{ params.model_set_name }}", if_exists="use"
    )

    # [START howto_operator_fine_tuning]
    train = QianfanFineTuningOperator(
        task_id="train",
        model="{{ params.model }}",
        train_mode="SFT",
        parameter_scale="LoRA",
        hyper_parameter_config={"epoch": 1, "learningRate": 0.0003, "maxSeqLen": 4096},
        dataset_config={
            "sourceType": "Platform",
            "versions": [{"versionId": "{{ params.dataset_version_id }}"}],
            "splitRatio": 20,
        },
        deferrable=True,
        execution_timeout=timedelta(days=2),
    )
    # [END howto_operator_fine_tuning]

    publish = QianfanCreateCustomModelOperator(
        task_id="publish",
        model_set_id=model_set.output["model_set_id"],
        fine_tuning_task_id=train.output["fine_tuning_task_id"],
        checkpoint_step=train.output["best_checkpoint_step"],
        wait_for_completion=True,
        deferrable=True,
        execution_timeout=timedelta(hours=1),
    )

    model_set >> train
