"""Batch inferences are created, waited for, listed and stopped; a full quota is waited for."""

from __future__ import annotations

import re
import threading
from datetime import timedelta

import pytest
from operator_values import HOUR, MARK, MODES, RETRIES, actions_of

from airflow_qianfan.api.actions.batch_inference import CreateBatchInferenceTask, StopBatchInferenceTask
from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import (
    QianfanExecutionTimeoutError,
    QianfanNotFoundError,
    QianfanQuotaError,
    QianfanTerminalStateError,
    QianfanValidationError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.batch_inference import (
    QianfanBatchInferenceOperator,
    QianfanCreateBatchInferenceTaskOperator,
    QianfanDescribeBatchInferenceModelOperator,
    QianfanDescribeBatchInferenceTaskOperator,
    QianfanDescribeBatchInferenceTasksOperator,
    QianfanStopBatchInferenceTaskOperator,
)
from airflow_qianfan.sensors.batch_inference import QianfanBatchInferenceTaskSensor

BATCH = {"model_id": "amv-1", "input_bos_uri": "bos:/b/in", "output_bos_uri": "bos:/b/out"}
SOON = {"poll_interval": 0.05, "max_poll_interval": 0.2}


def create(name="theirs"):
    return QianfanHook().call(CreateBatchInferenceTask(name=name, **BATCH)).task_id


def tasks_of(emulator):
    return emulator.objects("batch_inference_task")


@MODES
def test_the_whole_batch_inference_is_one_task(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.5)
    run = run_task(
        QianfanBatchInferenceOperator,
        qianfan_conn_id="qianfan_{{ params.c }}",
        name="{{ params.p }}-batch",
        description="{{ params.p }} answers",
        model_id="amv-{{ params.p }}",
        inference_params='{"temperature": {{ params.n }}}',
        input_bos_uri="bos:/{{ params.p }}/in",
        output_bos_uri="bos:/{{ params.p }}/out",
        completion_window="{{ params.n * 0 + 24 }}h",
        deferrable=deferrable,
        params={"c": "default", "p": "my", "n": 1},
        **SOON,
    )
    (task,) = tasks_of(emulator)
    assert re.fullmatch(f"my answers {MARK}", task["description"])
    assert task["request"] == {
        "name": "my-batch",
        "description": task["description"],
        "modelId": "amv-my",
        "inferenceParams": {"temperature": 1},
        "inputBosUri": "bos:/my/in",
        "outputBosUri": "bos:/my/out",
        "completion_window": "24h",
    }
    assert run.value == {
        "batch_inference_task_id": task["taskId"],
        "name": "my-batch",
        "status": "Done",
        "run_status": "Done",
        "progress": 1.0,
        "rows": task["total"],
        "total_rows": task["total"],
        "input_tokens": task["inputTokenUsage"],
        "output_tokens": task["outputTokenUsage"],
        "result_uri": f"bos:/my/out/{task['outputDir']}",
        "error_code": None,
        "error_reason": None,
        "console_url": None,
    }
    assert run.xcom["batch_inference_task_id"] == task["taskId"]
    assert run.xcom["result_uri"] == run.value["result_uri"]


def test_progress_in_the_log_is_a_number_of_rows(start_emulator, run_task, capfd):
    start_emulator(task_seconds=0.6)
    run = run_task(QianfanBatchInferenceOperator, **BATCH, **SOON)
    log = capfd.readouterr().out
    total = run.value["total_rows"]
    bar = "[█░]{20}"
    assert re.search(rf"Batch inference task infer-\w+: Running {bar} \d+%, \d+ of {total} rows done", log)
    assert f"{total} of {total} rows done." in log


@MODES
def test_a_failed_batch_inference_ends_the_task_without_retries(start_emulator, run_task, deferrable, capfd):
    emulator = start_emulator(task_seconds=0.3)
    run = run_task(
        QianfanBatchInferenceOperator, **BATCH, **SOON, name="will-fail", deferrable=deferrable, **RETRIES
    )
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Failed"
    assert "errorReason a line of the input is not valid" in capfd.readouterr().out
    assert run.tries == {"it": 1}
    assert len(tasks_of(emulator)) == 1


def test_expired_is_a_failure(start_emulator, run_task):
    start_emulator(task_seconds=0.3)
    run = run_task(QianfanBatchInferenceOperator, **BATCH, **SOON, name="will-expire")
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Expired"


@MODES
def test_execution_timeout_stops_the_batch_inference(emulator, run_task, deferrable):
    run = run_task(
        QianfanBatchInferenceOperator,
        **BATCH,
        **SOON,
        deferrable=deferrable,
        execution_timeout=timedelta(seconds=4),
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    (task,) = tasks_of(emulator)
    assert task["runStatus"] == "Stopped"
    assert f"{task['taskId']} was stopped" in str(run.error)


@MODES
def test_a_lost_answer_of_the_create_costs_no_second_batch_inference(start_emulator, run_task, deferrable):
    emulator = start_emulator(task_seconds=0.4)
    emulator.fail_next("CreateBatchInferenceTask", kind="lost_answer")
    run = run_task(QianfanBatchInferenceOperator, **BATCH, **SOON, deferrable=deferrable, **RETRIES)
    (task,) = tasks_of(emulator)
    assert run.value["batch_inference_task_id"] == task["taskId"]
    assert run.tries == {"it": 1}


# A full quota


def place_for_one(start_emulator, **more):
    return start_emulator(assumptions=Assumptions(batch_inference_limit=1), **more)


def refusals(emulator):
    return [call for call in emulator.journal if call["code"] == "TaskRunningNumberExceedLimit"]


@pytest.fixture
def meanwhile():
    """Do something in another thread as soon as a condition holds, then the next."""
    ended, threads = threading.Event(), []

    def start(*steps):
        def follow():
            for holds, act in steps:
                while not holds():
                    if ended.wait(0.02):
                        return
                act()

        threads.append(threading.Thread(target=follow))
        threads[-1].start()

    yield start
    ended.set()
    for thread in threads:
        thread.join()


@MODES
def test_a_full_quota_is_waited_for(start_emulator, run_task, meanwhile, deferrable, capfd):
    emulator = place_for_one(start_emulator)
    theirs = create()
    meanwhile(
        (lambda: refusals(emulator), lambda: emulator.advance(HOUR)),
        (lambda: len(tasks_of(emulator)) == 2, lambda: emulator.advance(HOUR)),
    )
    run = run_task(QianfanBatchInferenceOperator, **BATCH, **SOON, deferrable=deferrable, **RETRIES)
    assert run.state == "success"
    ours = run.value["batch_inference_task_id"]
    assert [task["taskId"] for task in tasks_of(emulator)] == [theirs, ours]
    assert run.tries == {"it": 1}
    assert refusals(emulator)
    # Nothing is looked for after a Create that was certainly refused.
    assert actions_of(emulator).count("DescribeBatchInferenceTasks") == 0
    log = capfd.readouterr().out
    assert "The quota is full, after 0 s of waiting for a free place; trying again in" in log


@MODES
def test_a_quota_that_stays_full_is_waited_for_until_execution_timeout(
    start_emulator, run_task, deferrable, monkeypatch
):
    monkeypatch.setattr("airflow_qianfan.operators.batch_inference.LAST_TRY", 1.5)
    emulator = place_for_one(start_emulator)
    create()
    run = run_task(
        QianfanBatchInferenceOperator,
        **BATCH,
        poll_interval=0.3,
        deferrable=deferrable,
        execution_timeout=timedelta(seconds=4),
        **RETRIES,
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    assert "the quota was full all the time, and no batch inference task was created" in str(run.error)
    assert len(tasks_of(emulator)) == 1
    assert run.tries == {"it": 1}
    assert actions_of(emulator).count("CreateBatchInferenceTask") > 2


def test_pauses_grow_while_the_quota_stays_full(start_emulator, run_task, monkeypatch):
    place_for_one(start_emulator)
    theirs = create()
    slept = []

    def sleep(seconds):
        # What looks something up at once sleeps for 0 s.
        slept.extend([seconds] if seconds else [])
        if seconds and len(slept) == 6:
            QianfanHook().call(StopBatchInferenceTask(task_id=theirs))

    monkeypatch.setattr("airflow_qianfan.operators.batch_inference.time.sleep", sleep)
    monkeypatch.setattr("airflow_qianfan.operators.batch_inference.random.uniform", lambda low, high: 1.0)
    run = run_task(
        QianfanBatchInferenceOperator,
        **BATCH,
        poll_interval=10,
        max_poll_interval=40,
        deferrable=False,
        wait_for_completion=False,
    )
    assert run.state == "success"
    assert [round(seconds) for seconds in slept] == [10, 15, 22, 34, 40, 40]


def test_a_lost_answer_while_the_quota_is_full_is_looked_for(start_emulator, run_task, meanwhile):
    emulator = place_for_one(start_emulator)
    theirs = create()
    emulator.fail_next("CreateBatchInferenceTask", kind="server_error")
    stop = StopBatchInferenceTask(task_id=theirs)
    meanwhile((lambda: refusals(emulator), lambda: QianfanHook().call(stop)))
    run = run_task(QianfanBatchInferenceOperator, **BATCH, **SOON, wait_for_completion=False)
    assert run.state == "success"
    assert len(tasks_of(emulator)) == 2


def test_without_the_whole_step_a_full_quota_is_an_error_that_a_retry_may_mend(start_emulator, run_task):
    emulator = place_for_one(start_emulator)
    create()
    run = run_task(QianfanCreateBatchInferenceTaskOperator, **BATCH, **RETRIES)
    assert isinstance(run.errors[-1], QianfanQuotaError)
    assert run.tries == {"it": 3}
    assert len(tasks_of(emulator)) == 1


# One operator for each Action


def test_creating_returns_id_and_name_at_once(emulator, run_task):
    run = run_task(QianfanCreateBatchInferenceTaskOperator, **BATCH)
    (task,) = tasks_of(emulator)
    assert run.value == {"batch_inference_task_id": task["taskId"], "name": task["name"]}
    assert re.fullmatch(r"dag_\d+_[0-9a-f]{12}", task["name"])


def test_description_of_a_running_task(emulator, run_task):
    task_id = create()
    emulator.advance(HOUR / 2)
    run = run_task(
        QianfanDescribeBatchInferenceTaskOperator,
        batch_inference_task_id="{{ params.t }}",
        params={"t": task_id},
    )
    assert run.value["status"] == "Running"
    assert 0 < run.value["progress"] < 1
    assert run.value["rows"] == int(run.value["progress"] * run.value["total_rows"] + 0.5)
    assert run.value["output_tokens"] is None


def test_list_takes_one_state_or_several(emulator, run_task):
    ids = [create(f"n{number}") for number in range(3)]
    QianfanHook().call(StopBatchInferenceTask(task_id=ids[0]))

    def listed(**arguments):
        found = run_task(QianfanDescribeBatchInferenceTasksOperator, **arguments).value
        return [row["batch_inference_task_id"] for row in found]

    assert listed() == ids
    assert listed(run_status="Stopped") == ids[:1]
    assert listed(run_status=["Queuing", "Running"]) == ids[1:]
    assert listed(run_status='["Queuing", "{{ params.s }}"]', params={"s": "Stopped"}) == ids
    assert listed(limit=2) == ids[:2]


def test_stop_returns_when_it_has_really_ended(start_emulator, run_task):
    start_emulator(assumptions=Assumptions(stop_delay_seconds=0.5))
    task_id = create()
    run = run_task(QianfanStopBatchInferenceTaskOperator, batch_inference_task_id=task_id, poll_interval=0.05)
    assert run.value == {
        "batch_inference_task_id": task_id,
        "status": "Stopped",
        "run_status": "Stopped",
    }


@pytest.mark.parametrize("answer", ["false", "true", "error"])
def test_stop_of_what_is_done_tells_so(start_emulator, run_task, answer):
    emulator = start_emulator(assumptions=Assumptions(stop_finished_task=answer))
    task_id = create()
    emulator.advance(2 * HOUR)
    run = run_task(QianfanStopBatchInferenceTaskOperator, batch_inference_task_id=task_id)
    assert run.value["status"] == "Done"


def test_stop_of_what_is_missing_fails_or_is_ignored(emulator, run_task):
    run = run_task(QianfanStopBatchInferenceTaskOperator, batch_inference_task_id="infer-gone")
    assert isinstance(run.error, QianfanNotFoundError)
    run = run_task(
        QianfanStopBatchInferenceTaskOperator, batch_inference_task_id="infer-gone", if_missing="ignore"
    )
    assert run.value["status"] is None


def test_models_are_shown(emulator, service, run_task):
    model_id = service.model()
    emulator.advance(2 * HOUR)
    run = run_task(QianfanDescribeBatchInferenceModelOperator)
    assert run.value["common_models"]
    (custom,) = run.value["custom_models"]
    assert [version["model_id"] for version in custom["versions"]] == [model_id]


@pytest.mark.parametrize(
    ("change", "member"),
    [
        ({"model_id": ""}, "modelId"),
        ({"endpoint": "{{ 'https://x' }}"}, "endpoint"),
        ({"input_bos_uri": "{{ '' }}"}, "inputBosUri"),
        ({"inference_params": "{'a': 1}"}, "inferenceParams"),
    ],
)
def test_bad_values_are_not_sent(emulator, run_task, change, member):
    run = run_task(QianfanBatchInferenceOperator, **{**BATCH, **change}, **RETRIES)
    assert isinstance(run.error, QianfanValidationError)
    assert member in run.error.parameters
    assert emulator.journal == []


def test_password_of_the_file_system_is_in_no_error(emulator, run_task):
    afs = {"userName": "", "password": "s3cret-of-afs", "inputAfsUri": "afs:/i", "outputAfsUri": "afs:/o"}
    run = run_task(QianfanCreateBatchInferenceTaskOperator, model_id="amv-1", afs_config=afs)
    assert "param[userName] invalid" in str(run.error)
    assert "s3cret-of-afs" not in f"{run.error!r} {run.error}"


@pytest.mark.parametrize("mode", ["poke", "reschedule", "deferrable"])
def test_sensor_waits_for_the_end(start_emulator, run_task, mode):
    start_emulator(task_seconds=0.4)
    how = {"deferrable": True} if mode == "deferrable" else {"mode": mode}
    run = run_task(
        QianfanBatchInferenceTaskSensor,
        batch_inference_task_id=create(),
        poke_interval=0.1,
        timeout=30,
        **how,
    )
    assert (run.value["status"], run.value["progress"]) == ("Done", 1.0)


def test_sensor_fails_where_it_was_stopped(emulator, run_task):
    task_id = create()
    QianfanHook().call(StopBatchInferenceTask(task_id=task_id))
    run = run_task(QianfanBatchInferenceTaskSensor, batch_inference_task_id=task_id)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Stopped"
