"""Train a model, and publish it only where its metrics are good enough and a person has approved it.

The person finds the request under *Required Actions* in Airflow's UI: a table with the metrics of this
training next to those of the training that was published last. Approved, the training becomes a version of
the model set; rejected, or without an answer for two days, it does not. No worker waits for the answer.

It needs a published version of a data set (``dataset_version_id``). Both trainings were measured with what
``splitRatio`` cuts off their own data.
"""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from airflow.providers.standard.operators.hitl import ApprovalOperator
from airflow.sdk import DAG, Param, task

from airflow_qianfan.exceptions import QianfanNotFoundError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.metrics_gate import QianfanMetricsGate
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

with DAG(
    dag_id="approve_and_publish",
    description="Train a model on Qianfan, and publish it once a person has approved its metrics",
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
        "hyper_parameter_config": Param(
            {"epoch": 1, "learningRate": 0.0003, "maxSeqLen": 4096},
            type="object",
            description="Depends on model, mode and scale",
        ),
        "dataset_version_id": Param(
            "ds-0123456789abcdef",
            type="string",
            pattern="^ds-",
            description="Published version of a data set",
        ),
        "model_set_name": Param("approved", type="string", description="Gets a version from each approval"),
        "thresholds": Param(
            {"ROUGE-L": {"min": 0.01}},
            type="object",
            minProperties=1,
            description="What is good enough to be shown to a person, by the names of metrics",
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    model_set = QianfanCreateCustomModelSetOperator(
        task_id="model_set", model_set_name="{{ params.model_set_name }}", if_exists="use"
    )

    train = QianfanFineTuningOperator(
        task_id="train",
        model="{{ params.model }}",
        train_mode="SFT",
        parameter_scale="LoRA",
        hyper_parameter_config="{{ params.hyper_parameter_config | tojson }}",
        dataset_config={
            "sourceType": "Platform",
            "versions": [{"versionId": "{{ params.dataset_version_id }}"}],
            "splitRatio": 20,
        },
        deferrable=True,
        execution_timeout=timedelta(hours=12),
    )

    gate = QianfanMetricsGate(
        task_id="gate", metrics=train.output["metrics"], thresholds="{{ params.thresholds | tojson }}"
    )

    @task
    def compare(model_set_id: str, metrics: dict[str, float]) -> str:
        """Return the metrics next to those of the training published last, as a table in Markdown."""
        # Importing requests takes a while; DAG files are parsed every few seconds.
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask
        from airflow_qianfan.api.actions.model import DescribeModel, DescribeModelSet

        hook = QianfanHook()
        published: dict[str, Any] = {}
        title = "published last (none)"
        for model_id in hook.call(DescribeModelSet(model_set_id=model_set_id)).model_ids:
            try:
                version = hook.call(DescribeModel(model_id=model_id))
                source = version.source_info
                if version.status != "Ready" or not (isinstance(source, dict) and source.get("taskId")):
                    continue
                published = hook.call(DescribeFineTuningTask(task_id=source["taskId"])).metric_values
            except QianfanNotFoundError:
                # The version or its training was deleted.
                continue
            title = f"published last ({model_id})"
            break
        lines = [f"| metric | this training | {title} | difference |", "|---|---|---|---|"]
        for name in sorted({*metrics, *published}):
            new, old = metrics.get(name), published.get(name)
            cells = ["-" if value is None else f"{value:.4f}" for value in (new, old)]
            difference = "-" if new is None or old is None else f"{new - old:+.4f}"
            lines.append(f"| {name} | {cells[0]} | {cells[1]} | {difference} |")
        return "\n".join(lines)

    # [START howto_approval]
    approve = ApprovalOperator(
        task_id="approve",
        subject="Publish {{ ti.xcom_pull(task_ids='train', key='fine_tuning_task_id') }}?",
        body=compare(model_set.output["model_set_id"], train.output["metrics"]),
        response_timeout=timedelta(days=2),
        defaults=ApprovalOperator.REJECT,
    )
    # [END howto_approval]

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
    gate >> approve >> publish
