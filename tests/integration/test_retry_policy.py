"""The retry policy in a DAG run: Airflow asks it, and waits as long as it says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG
from sqlalchemy import select
from versions import needs

from airflow_qianfan.operators.finetuning import QianfanCreateFineTuningJobOperator

pytestmark = needs(3, 3, "has no retry policies")


@pytest.fixture
def create_job(emulator, reconnect, run_dag):
    """Run a task that creates a job, with a policy and without a wait of Airflow's own."""
    reconnect(emulator, max_retries=0)

    def run(**delays):
        from airflow_qianfan.retry_policy import QianfanRetryPolicy

        with DAG("retried", schedule=None) as dag:
            QianfanCreateFineTuningJobOperator(
                task_id="it",
                model="ERNIE-Speed-8K",
                train_mode="SFT",
                validate="off",
                retries=3,
                # dag.test() would not end for as long.
                retry_delay=timedelta(hours=1),
                retry_policy=QianfanRetryPolicy(**delays),
            )
        return run_dag(dag)

    return run


def pauses():
    """What Airflow has stored of the latest run's failed attempts, in their order: seconds and reasons."""
    from airflow.models.taskinstancehistory import TaskInstanceHistory as Attempt
    from airflow.utils.session import create_session

    columns = (Attempt.retry_delay_override, Attempt.retry_reason)
    of_dag = select(*columns).where(Attempt.dag_id == "retried").order_by(Attempt.start_date)
    with create_session() as session:
        return [tuple(row) for row in session.execute(of_dag)]


def test_a_throttled_task_is_tried_again_after_the_pause_that_the_service_asks_for(emulator, create_job):
    emulator.fail_next("CreateFineTuningJob", kind="throttle", retry_after=1)
    run = create_job()
    assert (run.state, run.tries["it"]) == ("success", 2)
    assert len(emulator.jobs) == 1
    assert pauses() == []
