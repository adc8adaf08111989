"""DAGs of all that is not a training, whose tasks end where the DAG run says; see ``crash_points.py``.

They use the connection ``qianfan_kinds``. The DAG run names model versions that are Ready.
"""

from __future__ import annotations

from datetime import timedelta

import crash_points
from airflow.sdk import DAG

from airflow_qianfan.operators.batch_inference import QianfanBatchInferenceOperator
from airflow_qianfan.operators.evaluation import QianfanEvaluationOperator
from airflow_qianfan.operators.model import QianfanModelCompressionOperator, QianfanModelExportOperator
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator
from airflow_qianfan.operators.service import QianfanDeactivateServiceOperator, QianfanServiceOperator

crash_points.install()

DAG_ARGUMENTS = {
    "schedule": None,
    "default_args": {
        "qianfan_conn_id": "qianfan_kinds",
        "retries": 6,  # Airflow itself uses some up on a busy machine
        "retry_delay": timedelta(seconds=1),
    },
    "max_active_runs": 100,
    "max_active_tasks": 100,
}
MODEL_SET = "{{ dag_run.conf['model_set_id'] }}"
MODEL, OTHER_MODEL = "{{ dag_run.conf['model_id'] }}", "{{ dag_run.conf['other_model_id'] }}"

for mode in ("sync", "deferrable"):
    waits = {"deferrable": mode == "deferrable"}

    with DAG(f"kind_data_{mode}", **DAG_ARGUMENTS):
        QianfanDatasetOperator(
            task_id="data", files="bos:/bucket/faq.jsonl", data_format="PromptResponse", **waits
        )

    with DAG(f"kind_service_{mode}", **DAG_ARGUMENTS):
        deploy = QianfanServiceOperator(
            task_id="deploy",
            model_set_id=MODEL_SET,
            model_id=MODEL,
            resource_config={"region": "bj", "type": "GPU-1-1", "qps": 5},
            billing={"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"},
            **waits,
        )
        update = QianfanServiceOperator(
            task_id="update",
            service_id=deploy.output["service_id"],
            model_set_id=MODEL_SET,
            model_id=OTHER_MODEL,
            **waits,
        )
        take_off_line = QianfanDeactivateServiceOperator(
            task_id="take_off_line", service_id=deploy.output["service_id"], poll_interval=1.0
        )
        update >> take_off_line

    with DAG(f"kind_use_{mode}", **DAG_ARGUMENTS):
        QianfanBatchInferenceOperator(
            task_id="answer",
            model_id=MODEL,
            input_bos_uri="bos:/bucket/in",
            output_bos_uri="bos:/bucket/out",
            **waits,
        )
        QianfanEvaluationOperator(
            task_id="evaluate",
            eval_object_config={
                "evalModelConfig": {"versionId": "ds-1", "evalModelConfigList": [{"modelId": MODEL}]}
            },
            eval_config={"evalMode": "rule"},
            **waits,
        )

    with DAG(f"kind_files_{mode}", **DAG_ARGUMENTS):
        compress = QianfanModelCompressionOperator(
            task_id="compress", source_model_id=MODEL, strategy="Quantization", weight="INT8-PTQ", **waits
        )
        # A version of its own: only the latest export of one is shown.
        QianfanModelExportOperator(task_id="export", model_id=compress.output["model_id"], **waits)
