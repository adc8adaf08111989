"""Train a model on Qianfan and publish it: model set, job, task, wait, version, wait until it is Ready.

Waiting happens in the triggerer, so no worker is held while the training runs. A retry of a task attaches to
what the attempt before created, so that nothing is trained or published twice. The model set comes first:
where it cannot be had, nothing has been paid for yet.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)
from airflow_qianfan.sensors.finetuning import QianfanFineTuningTaskSensor
from airflow_qianfan.sensors.model import QianfanModelSensor

with DAG(
    dag_id="train_and_publish",
    description="Fine-tune a model on Qianfan and publish the best checkpoint as a model version",
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
        "train_mode": Param(
            "SFT", type="string", description="How to train", enum=["SFT", "PostPretrain", "DPO", "KTO"]
        ),
        "parameter_scale": Param(
            "LoRA", type="string", description="What to train", enum=["LoRA", "FullFineTuning"]
        ),
        "hyper_parameter_config": Param(
            {"epoch": 1, "learningRate": 0.0003, "maxSeqLen": 4096},
            type="object",
            description="Depends on model, mode and scale",
        ),
        "dataset_version_id": Param(
            "ds-0123456789abcdef", type="string", description="Published version of a data set"
        ),
        "model_set_name": Param(
            "train_and_publish", type="string", description="Gets a new version from each run"
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(seconds=30)},
    render_template_as_native_obj=True,
) as dag:
    create_model_set = QianfanCreateCustomModelSetOperator(
        task_id="create_model_set",
        model_set_name="{{ params.model_set_name }}",
        model_type="Text2Text",
        if_exists="use",
    )

    # [START howto_operator_create_fine_tuning_job]
    create_job = QianfanCreateFineTuningJobOperator(
        task_id="create_job",
        model="{{ params.model }}",
        train_mode="{{ params.train_mode }}",
    )
    # [END howto_operator_create_fine_tuning_job]

    # [START howto_operator_create_fine_tuning_task]
    create_task = QianfanCreateFineTuningTaskOperator(
        task_id="create_task",
        fine_tuning_job_id=create_job.output["fine_tuning_job_id"],
        parameter_scale="{{ params.parameter_scale }}",
        hyper_parameter_config="{{ params.hyper_parameter_config }}",
        dataset_config={
            "sourceType": "Platform",
            "versions": [{"versionId": "{{ params.dataset_version_id }}"}],
            "splitRatio": 20,
        },
    )
    # [END howto_operator_create_fine_tuning_task]

    # [START howto_sensor_fine_tuning_task]
    wait_for_training = QianfanFineTuningTaskSensor(
        task_id="wait_for_training",
        fine_tuning_task_id=create_task.output["fine_tuning_task_id"],
        deferrable=True,
        timeout=3 * 24 * 60 * 60,
    )
    # [END howto_sensor_fine_tuning_task]

    # [START howto_operator_create_custom_model]
    publish_model = QianfanCreateCustomModelOperator(
        task_id="publish_model",
        model_set_id=create_model_set.output["model_set_id"],
        fine_tuning_task_id=wait_for_training.output["fine_tuning_task_id"],
        checkpoint_step=wait_for_training.output["best_checkpoint_step"],
    )
    # [END howto_operator_create_custom_model]

    # [START howto_sensor_model]
    wait_until_ready = QianfanModelSensor(
        task_id="wait_until_ready",
        model_id=publish_model.output["model_id"],
        deferrable=True,
        timeout=60 * 60,
    )
    # [END howto_sensor_model]

    create_model_set >> create_job
    publish_model >> wait_until_ready
