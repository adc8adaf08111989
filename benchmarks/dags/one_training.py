"""One deferred training, of which ``benchmarks.costs`` starts many."""

from airflow.sdk import DAG

from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator

with DAG("one_training", schedule=None, max_active_runs=1000, max_active_tasks=1000):
    QianfanFineTuningOperator(
        task_id="train",
        model="ERNIE-Speed-8K",
        train_mode="SFT",
        hyper_parameter_config={"epoch": 1},
        dataset_config={"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]},
        deferrable=True,
    )
