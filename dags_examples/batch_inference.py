"""Let a large model answer many prompts, and make a data set of its answers, to train a small one with.

``prompts`` is a directory in BOS whose files have lines such as ``{"id": "7", "query": "How far is Mars?"}``.
The answers come in a new directory below ``answers``. Each run costs one batch inference, whatever crashes.
Where too few prompts are answered, no data set is made.

It needs a model version (``model_id``), a data set in the format ``PromptResponse`` that gets a version from
each run (``dataset_id``), and Airflow's access to BOS, which understands S3: the package
``apache-airflow-providers-amazon[s3fs]``, and a connection ``bos`` of type ``aws`` with the extra
``{"endpoint_url": "https://s3.bj.bcebos.com"}``. Where BOS is mounted, ``storage`` is ``file:///mnt/bos/``.
"""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_qianfan.operators.batch_inference import QianfanBatchInferenceOperator
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator

log = logging.getLogger(__name__)

with DAG(
    dag_id="batch_inference",
    description="Answer many prompts with a model on Qianfan, and make a data set of the answers",
    schedule=None,
    catchup=False,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "model_id": Param(
            "amv-0123456789ab", type="string", pattern="^amv-", description="Answers the prompts"
        ),
        "prompts": Param(
            "bos:/my-bucket/prompts", type="string", pattern="^bos:/", description="Directory of the prompts"
        ),
        "answers": Param(
            "bos:/my-bucket/answers", type="string", pattern="^bos:/", description="Directory for the answers"
        ),
        "dataset_id": Param(
            "dg-0123456789abcdef", type="string", pattern="^dg-", description="Gets a version from each run"
        ),
        "min_answered": Param(
            0.95,
            type="number",
            minimum=0,
            maximum=1,
            description="Share of the prompts that must be answered",
        ),
        "storage": Param("s3://bos@", type="string", description="How Airflow reaches BOS"),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    # [START howto_operator_batch_inference]
    answer = QianfanBatchInferenceOperator(
        task_id="answer",
        model_id="{{ params.model_id }}",
        input_bos_uri="{{ params.prompts }}",
        output_bos_uri="{{ params.answers }}",
        inference_params={"temperature": 0.1},
        deferrable=True,
        # The wait for a free place counts, too.
        execution_timeout=timedelta(hours=30),
    )
    # [END howto_operator_batch_inference]

    @task
    def write_samples(result_uri: str, params: dict[str, Any]) -> str:
        """Make a file of samples from the files of answers, and return where it is."""
        from airflow.sdk import ObjectStoragePath  # costs too much each time this file is parsed

        folder = ObjectStoragePath(params["storage"] + result_uri.removeprefix("bos:/"))
        target = folder / "samples" / "train.jsonl"
        target.parent.mkdir(parents=True, exist_ok=True)
        rows = answered = 0
        with target.open("w", encoding="utf-8") as samples:
            for file in folder.glob("*.jsonl"):
                with file.open(encoding="utf-8") as lines:
                    for line in lines:
                        row = json.loads(line)
                        rows += 1
                        if text := (row.get("output") or {}).get("result"):
                            answered += 1
                            sample = [{"prompt": row["query"], "response": text}]
                            samples.write(json.dumps(sample, ensure_ascii=False) + "\n")
        log.info("%s of %s prompts are answered", answered, rows)
        if answered < max(1, params["min_answered"] * rows):
            raise ValueError(f"only {answered} of {rows} prompts are answered: see {result_uri}")
        return f"{result_uri}/samples/train.jsonl"

    make_dataset = QianfanDatasetOperator(
        task_id="make_dataset",
        dataset_id="{{ params.dataset_id }}",
        files=write_samples(answer.output["result_uri"]),
        deferrable=True,
        execution_timeout=timedelta(hours=2),
    )
