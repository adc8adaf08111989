"""Try many hyper-parameters: one job, a training in it for each combination, and the best one is published.

``search_space`` has the values to try: each is combined with each. All trainings go on at the same time and
wait in the triggerer; one that fails does not hold up the others. Each combination costs one training,
whatever crashes. The model set comes first: where it cannot be had, nothing has been paid for yet.

It needs a published version of a data set (``dataset_version_id``).
"""

from __future__ import annotations

import itertools
import logging
import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanCreateFineTuningTaskOperator,
)
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateCustomModelSetOperator,
)

log = logging.getLogger(__name__)

with DAG(
    dag_id="sweep",
    description="Train a model on Qianfan with many hyper-parameters, and publish the best training",
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
        "parameter_scale": Param(
            "LoRA", type="string", description="What to train", enum=["LoRA", "FullFineTuning"]
        ),
        "search_space": Param(
            {"learningRate": [0.0001, 0.0003], "epoch": [1, 3]},
            type="object",
            minProperties=1,
            additionalProperties={"type": "array", "minItems": 1},
            description="The values to try of each hyper-parameter",
        ),
        "dataset_version_id": Param(
            "ds-0123456789abcdef",
            type="string",
            pattern="^ds-",
            description="Published version of a data set",
        ),
        "metric": Param(
            "ROUGE-L",
            type="string",
            description="What is highest in the best training",
            enum=["BLEU-4", "ROUGE-1", "ROUGE-2", "ROUGE-L"],
        ),
        "model_set_name": Param("sweep", type="string", description="Gets a version from each run"),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    model_set = QianfanCreateCustomModelSetOperator(
        task_id="model_set", model_set_name="{{ params.model_set_name }}", if_exists="use"
    )

    create_job = QianfanCreateFineTuningJobOperator(
        task_id="create_job", model="{{ params.model }}", train_mode="SFT"
    )

    @task
    def combine(params: dict[str, Any]) -> list[dict[str, Any]]:
        """Return each combination of hyper-parameters."""
        space = params["search_space"]
        return [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]

    # Where only a few trainings may go on at once: give this task a pool that includes deferred ones.
    train = QianfanCreateFineTuningTaskOperator.partial(
        task_id="train",
        fine_tuning_job_id=create_job.output["fine_tuning_job_id"],
        parameter_scale="{{ params.parameter_scale }}",
        dataset_config={
            "sourceType": "Platform",
            "versions": [{"versionId": "{{ params.dataset_version_id }}"}],
            "splitRatio": 20,
        },
        wait_for_completion=True,
        deferrable=True,
        execution_timeout=timedelta(days=1),
        map_index_template="{{ task.hyper_parameter_config }}",
    ).expand(hyper_parameter_config=combine())

    @task(trigger_rule="all_done_min_one_success", multiple_outputs=True)
    def choose_best(trainings: Iterable[dict[str, Any]], params: dict[str, Any]) -> dict[str, Any]:
        """Return the training with the highest metric."""
        scores = []
        for training in trainings:
            score = training["metrics"].get(params["metric"], math.nan)
            log.info("%s: %s %s", training["fine_tuning_task_id"], params["metric"], score)
            if not math.isnan(score):
                scores.append((score, training))
        if not scores:
            raise ValueError(f"no training has the metric {params['metric']}")
        return max(scores, key=lambda each: each[0])[1]

    best = choose_best(train.output)

    publish = QianfanCreateCustomModelOperator(
        task_id="publish",
        model_set_id=model_set.output["model_set_id"],
        fine_tuning_task_id=best["fine_tuning_task_id"],
        checkpoint_step=best["best_checkpoint_step"],
        wait_for_completion=True,
        deferrable=True,
        execution_timeout=timedelta(hours=1),
    )

    model_set >> create_job
