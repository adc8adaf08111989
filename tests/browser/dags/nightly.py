"""A DAG to look at: it trains and publishes, and has a task that has nothing to do with Qianfan."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.empty import EmptyOperator
from airflow.sdk import DAG, Param

from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

with DAG(
    "nightly",
    params={
        "epoch": Param(1, type="integer"),
        "rate": Param(0.0003, type="number"),
        "connection": Param("qianfan_default", type="string"),
    },
    # An API server that has only just begun may be too slow for a task's first call.
    default_args={
        "retries": 3,
        "retry_delay": timedelta(seconds=1),
        "qianfan_conn_id": "{{ params.connection }}",
    },
    render_template_as_native_obj=True,
) as dag:
    model_set = QianfanCreateCustomModelSetOperator(
        task_id="model_set", model_set_name="nightly", model_type="Text2Text", if_exists="use"
    )
    train = QianfanFineTuningOperator(
        task_id="train",
        model="ERNIE-Speed-8K",
        train_mode="SFT",
        parameter_scale="LoRA",
        hyper_parameter_config={
            "epoch": "{{ params.epoch }}",
            "learningRate": "{{ params.rate }}",
            "maxSeqLen": 4096,
        },
        dataset_config={
            "sourceType": "Platform",
            "versions": [{"versionId": "ds-0123456789abcdef"}],
            "splitRatio": 20,
        },
        deferrable=True,
    )
    publish = QianfanCreateCustomModelOperator(
        task_id="publish",
        model_set_id=model_set.output["model_set_id"],
        fine_tuning_task_id=train.output["fine_tuning_task_id"],
        checkpoint_step=train.output["best_checkpoint_step"],
        wait_for_completion=True,
        deferrable=True,
    )
    # Not one of ours.
    done = EmptyOperator(task_id="done")

    model_set >> train
    publish >> done
