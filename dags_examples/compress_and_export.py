"""Compress a model version, wait until the smaller one can be used, and export that.

The result of ``export`` has a ``download_url``, which needs no credentials: who may read XComs may use it.
How long it lives is not documented, so fetch the file soon; ``md5`` and ``file_size`` tell whether it is
complete.

It needs a model version that Qianfan can compress (``model_id``).
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from airflow_qianfan.operators.model import QianfanModelCompressionOperator, QianfanModelExportOperator
from airflow_qianfan.sensors.model import QianfanModelSensor

with DAG(
    dag_id="compress_and_export",
    description="Compress a model version on Qianfan, and export the smaller one",
    schedule=None,
    catchup=False,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "model_id": Param(
            "amv-0123456789ab", type="string", pattern="^amv-", description="The version to compress"
        ),
        "weight": Param(
            "INT8-PTQ",
            type="string",
            description="How the weights are quantized",
            enum=["INT8-PTQ", "W8A16C16", "W4A16C16"],
        ),
    },
    default_args={"retries": 2, "retry_delay": timedelta(minutes=1)},
) as dag:
    # [START howto_operator_model_compression]
    compress = QianfanModelCompressionOperator(
        task_id="compress",
        source_model_id="{{ params.model_id }}",
        strategy="Quantization",
        weight="{{ params.weight }}",
        deferrable=True,
        execution_timeout=timedelta(hours=6),
    )
    # [END howto_operator_model_compression]

    # The compression has ended, but its version may still be in the making.
    wait_until_ready = QianfanModelSensor(
        task_id="wait_until_ready",
        model_id=compress.output["model_id"],
        deferrable=True,
        timeout=60 * 60,
    )

    # [START howto_operator_model_export]
    export = QianfanModelExportOperator(
        task_id="export",
        model_id=wait_until_ready.output["model_id"],
        deferrable=True,
        execution_timeout=timedelta(hours=2),
    )
    # [END howto_operator_model_export]
