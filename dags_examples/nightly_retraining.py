"""Retrain a model each night, and deploy it only where it is better than the version that serves now.

New data become a version of a data set, a model is trained with it and published, this version and the one
that serves are evaluated, and the new one goes behind the service where it is better. Where the service then
does not answer, it is taken back to the version before. Each run costs one training and one evaluation at
most, whatever crashes.

It needs a service (``service_id``), a data set that gets a version from each run (``dataset_id``), a
published version of another data set to evaluate with (``eval_dataset_version_id``), and in
``bos_directory`` a file ``2026-01-31.jsonl`` for each day, in UTC. A version starts empty: the file holds all
that is trained with.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_qianfan.operators.evaluation import QianfanEvaluationOperator
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.metrics_gate import QianfanMetricsGate
from airflow_qianfan.operators.model import QianfanCreateCustomModelOperator
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator
from airflow_qianfan.operators.service import QianfanDescribeServiceOperator, QianfanServiceOperator

with DAG(
    dag_id="nightly_retraining",
    description="Retrain a model on Qianfan, and deploy it where it is better than what serves now",
    schedule="0 18 * * *",  # 2 a.m. in Beijing
    catchup=False,
    # A second run would compare with, and replace, what the first one is about to deploy.
    max_active_runs=1,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "service_id": Param(
            "svco-0123456789ab",
            type="string",
            pattern="^svco-",
            description="Service that gets the new version",
        ),
        "dataset_id": Param(
            "dg-0123456789abcdef", type="string", pattern="^dg-", description="Gets a version from each run"
        ),
        "bos_directory": Param(
            "bos:/my-bucket/faq",
            type="string",
            pattern="^bos:/.*[^/]$",
            description="Holds a file for each day",
        ),
        "eval_dataset_version_id": Param(
            "ds-0123456789abcdef",
            type="string",
            pattern="^ds-",
            description="Published data to evaluate with",
        ),
        "model": Param(
            "ERNIE-Speed-8K",
            type="string",
            description="Base model",
            examples=["ERNIE-Speed-8K", "ERNIE-Lite-8K-0308"],
        ),
        "train_mode": Param("SFT", type="string", description="How to train", enum=["SFT", "DPO", "KTO"]),
        "parameter_scale": Param(
            "LoRA", type="string", description="What to train", enum=["LoRA", "FullFineTuning"]
        ),
        "hyper_parameter_config": Param(
            {"epoch": 1, "learningRate": 0.0003, "maxSeqLen": 4096},
            type="object",
            description="Depends on model, mode and scale",
        ),
        "min_improvement": Param(
            {"rouge_l": 0.01},
            type="object",
            minProperties=1,
            additionalProperties={"type": "number"},
            description="By how much the new version has to be better, by the names of metrics",
        ),
        "question": Param(
            "Which plans do you offer?", type="string", minLength=1, description="What the service is asked"
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    # Comes first: without the service there is nothing to train for.
    serving = QianfanDescribeServiceOperator(task_id="serving", service_id="{{ params.service_id }}")

    # [START howto_operator_dataset]
    data = QianfanDatasetOperator(
        task_id="data",
        dataset_id="{{ params.dataset_id }}",
        # {{ ds }} would be missing where a run has no logical date.
        files="{{ params.bos_directory }}/{{ dag_run.run_after | ds }}.jsonl",
        deferrable=True,
        execution_timeout=timedelta(hours=2),
    )
    # [END howto_operator_dataset]

    train = QianfanFineTuningOperator(
        task_id="train",
        model="{{ params.model }}",
        train_mode="{{ params.train_mode }}",
        parameter_scale="{{ params.parameter_scale }}",
        hyper_parameter_config="{{ params.hyper_parameter_config | tojson }}",
        dataset_config={
            "sourceType": "Platform",
            "versions": [{"versionId": data.output["dataset_version_id"]}],
            "splitRatio": 20,
        },
        deferrable=True,
        execution_timeout=timedelta(hours=12),
    )

    # Before the evaluation, which takes model versions only. What the gate holds back is the deployment.
    publish = QianfanCreateCustomModelOperator(
        task_id="publish",
        model_set_id=serving.output["model_set_id"],
        fine_tuning_task_id=train.output["fine_tuning_task_id"],
        checkpoint_step=train.output["best_checkpoint_step"],
        wait_for_completion=True,
        deferrable=True,
        execution_timeout=timedelta(hours=1),
    )

    # [START howto_operator_evaluation]
    evaluate = QianfanEvaluationOperator(
        task_id="evaluate",
        eval_object_config={
            "evalModelConfig": {
                "versionId": "{{ params.eval_dataset_version_id }}",
                "evalModelConfigList": [
                    {"modelId": publish.output["model_id"]},
                    {"modelId": serving.output["model_id"]},
                ],
            }
        },
        eval_config={"evalMode": "rule"},
        deferrable=True,
        execution_timeout=timedelta(hours=4),
    )
    # [END howto_operator_evaluation]

    # [START howto_operator_metrics_gate]
    gate = QianfanMetricsGate(
        task_id="gate",
        metrics=evaluate.output["metrics"],
        model_id=publish.output["model_id"],
        baseline_model_id=serving.output["model_id"],
        min_improvement="{{ params.min_improvement | tojson }}",
    )
    # [END howto_operator_metrics_gate]

    # [START howto_operator_service]
    deploy = QianfanServiceOperator(
        task_id="deploy",
        service_id="{{ params.service_id }}",
        model_set_id=publish.output["model_set_id"],
        model_id=publish.output["model_id"],
        smoke_test="{{ params.question }}",
        roll_back=True,
        deferrable=True,
        execution_timeout=timedelta(hours=1),
    )
    # [END howto_operator_service]

    serving >> data
    gate >> deploy
