"""Delete old fine-tuning jobs: list them, stop what still runs, delete the rest.

Only jobs whose name starts with ``name_prefix`` are touched. ``dry_run`` is on by default: then the DAG only
says what it would delete.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.sdk import DAG, Param, task

from airflow_qianfan.operators.finetuning import (
    QianfanDeleteFineTuningJobOperator,
    QianfanDescribeFineTuningJobsOperator,
    QianfanDescribeFineTuningTasksOperator,
    QianfanStopFineTuningTaskOperator,
)

log = logging.getLogger(__name__)

with DAG(
    dag_id="cleanup",
    description="Stop and delete old fine-tuning jobs on Qianfan",
    schedule=None,
    catchup=False,
    tags=["qianfan", "example"],
    doc_md=__doc__,
    params={
        "name_prefix": Param("train_a_", type="string", minLength=1, description="Only jobs named like this"),
        "older_than_days": Param(30, type="number", minimum=0, description="Only jobs older than this"),
        "dry_run": Param(True, type="boolean", description="Only say what would be deleted"),
    },
) as dag:
    list_jobs = QianfanDescribeFineTuningJobsOperator(task_id="list_jobs", limit=None)

    @task
    def select_old_jobs(jobs: list[dict[str, Any]], **context: Any) -> list[str]:
        """Return the ids of the jobs to delete."""
        params = context["params"]
        limit = datetime.now(UTC) - timedelta(days=params["older_than_days"])
        old = [
            job
            for job in jobs
            if (job["name"] or "").startswith(params["name_prefix"])
            and job["create_time"]
            and datetime.fromisoformat(job["create_time"]) <= limit
        ]
        for job in old:
            log.info("Old: %s (%s), created %s", job["fine_tuning_job_id"], job["name"], job["create_time"])
        return [] if params["dry_run"] else [job["fine_tuning_job_id"] for job in old]

    old_jobs = select_old_jobs(list_jobs.output)

    list_tasks = QianfanDescribeFineTuningTasksOperator.partial(
        task_id="list_tasks", limit=None, map_index_template="{{ task.fine_tuning_job_id }}"
    ).expand(fine_tuning_job_id=old_jobs)

    @task(trigger_rule="none_failed")
    def select_running_tasks(tasks_by_job: Any) -> list[str]:
        """Return the ids of the tasks to stop."""
        return [
            row["fine_tuning_task_id"]
            for rows in tasks_by_job or []
            for row in rows
            if row["status"] not in ("Done", "Failed", "Stopped")
        ]

    # [START howto_operator_stop_fine_tuning_task]
    stop_tasks = QianfanStopFineTuningTaskOperator.partial(
        task_id="stop_tasks", if_missing="ignore", map_index_template="{{ task.fine_tuning_task_id }}"
    ).expand(fine_tuning_task_id=select_running_tasks(list_tasks.output))
    # [END howto_operator_stop_fine_tuning_task]

    delete_jobs = QianfanDeleteFineTuningJobOperator.partial(
        task_id="delete_jobs",
        if_missing="ignore",
        trigger_rule="none_failed",
        map_index_template="{{ task.fine_tuning_job_id }}",
    ).expand(fine_tuning_job_id=old_jobs)

    stop_tasks >> delete_jobs
