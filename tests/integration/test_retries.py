"""The retry policy in a DAG run: Airflow asks it, and waits as long as it says."""

from __future__ import annotations

from datetime import timedelta

import pytest
from airflow.sdk import DAG
from sqlalchemy import select
from versions import needs

from airflow_qianfan.exceptions import QianfanPermissionError
from airflow_qianfan.operators.finetuning import (
    QianfanCreateFineTuningJobOperator,
    QianfanDescribeFineTuningTaskOperator,
)

pytestmark = needs(3, 3, "has no retry policies")

JOB = {"model": "ERNIE-Speed-8K", "train_mode": "SFT", "validate": "off"}


@pytest.fixture
def retried(emulator, reconnect, run_dag):
    """Run a task with the policy. Without it, the run would not end within an hour."""
    reconnect(emulator, max_retries=0)

    def run(dag_id, operator, *, delays=None, **arguments):
        from airflow_qianfan.retry_policy import QianfanRetryPolicy

        with DAG(dag_id, schedule=None) as dag:
            operator(
                task_id="it",
                retries=3,
                retry_delay=timedelta(hours=1),
                retry_policy=QianfanRetryPolicy(**delays or {}),
                **arguments,
            )
        return run_dag(dag)

    return run


def pauses(dag_id):
    """What Airflow has stored of failed attempts that it has tried again: seconds and reasons."""
    from airflow.models.taskinstancehistory import TaskInstanceHistory as Attempt
    from airflow.utils.session import create_session

    columns = (Attempt.retry_delay_override, Attempt.retry_reason)
    found = select(*columns).where(Attempt.dag_id == dag_id).order_by(Attempt.try_number)
    with create_session() as session:
        return [tuple(row) for row in session.execute(found)]


def test_a_throttled_task_is_tried_again_after_the_pause_that_the_service_asks_for(
    emulator, service, retried
):
    task_id = service.task()
    emulator.fail_next("DescribeFineTuningTask", kind="throttle", retry_after=1)
    operator = QianfanDescribeFineTuningTaskOperator
    run = retried("throttled", operator, fine_tuning_task_id=task_id)
    assert (run.state, run.tries["it"]) == ("success", 2)
    ((seconds, reason),) = pauses("throttled")
    assert 1.0 <= seconds <= 1.1
    assert reason == "QianfanThrottledError: the service asks for a pause of 1 s"


def test_a_full_quota_is_tried_more_slowly_and_the_job_is_created_once(emulator, retried):
    emulator.fail_next("CreateFineTuningJob", kind="error", code="TaskRunningNumberExceedLimit", count=2)
    delays = {"quota_delay": timedelta(seconds=1)}
    run = retried("full", QianfanCreateFineTuningJobOperator, delays=delays, **JOB)
    assert (run.state, run.tries["it"]) == ("success", 3)
    (first, reason), (second, _) = pauses("full")
    assert 1.0 <= first <= 1.1 < 2.0 <= second <= 2.2
    assert reason == "QianfanQuotaError: a quota is full"
    assert len(emulator.jobs) == 1


def test_what_another_attempt_cannot_mend_is_not_tried_again(emulator, retried):
    emulator.fail_next("CreateFineTuningJob", kind="error", status=403, code="AccessDenied")
    run = retried("denied", QianfanCreateFineTuningJobOperator, **JOB)
    assert (run.state, run.tries["it"]) == ("failed", 1)
    assert isinstance(run.error, QianfanPermissionError)
    assert pauses("denied") == []
