import asyncio
import json
import re
import time
from datetime import timedelta

import pytest
from airflow.sdk import PokeReturnValue

from airflow_qianfan.api.actions.finetuning import StopFineTuningTask
from airflow_qianfan.compat import REMEMBERS, AirflowFailException, AirflowSensorTimeout, AirflowSkipException
from airflow_qianfan.exceptions import (
    QianfanNotFoundError,
    QianfanPermissionError,
    QianfanPollError,
    QianfanPollRefusedError,
    QianfanServerError,
    QianfanTerminalStateError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.sensors.finetuning import QianfanFineTuningTaskSensor
from airflow_qianfan.sensors.model import QianfanModelSensor

HOUR = 3600.0
RETRIES = {"retries": 2, "retry_delay": timedelta(0)}
MODES = {
    "poke": {"mode": "poke"},
    "reschedule": {"mode": "reschedule"},
    "deferrable": {"deferrable": True},
}
modes = pytest.mark.parametrize("mode", MODES)
LINKS = {"task": "_link_QianfanFineTuningTaskLink", "model": "_link_QianfanModelLink"}
SECRET = "s3nt1nel-secret-access-key"


def sensor_of(kind, object_id, **arguments):
    """Return sensor class and arguments that wait for an object."""
    arguments = {"poke_interval": 0.1, "timeout": 120, **arguments}
    if kind == "task":
        return QianfanFineTuningTaskSensor, {"fine_tuning_task_id": object_id, **arguments}
    return QianfanModelSensor, {"model_id": object_id, **arguments}


def end_after(emulator, polls):
    """Let all that there is end, but show it as still on its way at the next polls."""
    emulator.advance(2 * HOUR)
    if polls:
        emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Running", count=polls)
        emulator.fail_next("DescribeModel", kind="unknown_status", word="Creating", count=polls)


def wait(run_task, kind, object_id, **arguments):
    sensor, arguments = sensor_of(kind, "{{ params.id }}", **arguments)
    return run_task(sensor, params={"id": object_id}, **arguments)


# --- how it ends


@modes
def test_a_finished_training_is_returned_with_numbers(emulator, service, run_task, mode):
    task_id = service.task()
    end_after(emulator, polls=2)
    run = wait(run_task, "task", task_id, **MODES[mode])
    (task,) = emulator.tasks
    points = task["checkpointList"]
    best = min(points, key=lambda point: point["perplexity"])
    assert run.value == {
        "fine_tuning_task_id": task_id,
        "fine_tuning_job_id": task["jobId"],
        "status": "Done",
        "run_status": "Done",
        "progress": 1.0,
        "metrics": {
            name: pytest.approx(float(text.removesuffix("%")) / 100) for name, text in task["metrics"].items()
        },
        "checkpoints": [
            {"step": point["step"], "perplexity": point["perplexity"], "training_loss": point["trainingLoss"]}
            for point in points
        ],
        "best_checkpoint": {
            "step": best["step"],
            "perplexity": best["perplexity"],
            "training_loss": best["trainingLoss"],
        },
        "best_checkpoint_step": best["step"],
        "console_url": run.xcom["_link_QianfanFineTuningTaskLink"],
    }
    assert {name: run.xcom[name] for name in run.value} == run.value
    assert [call["action"] for call in emulator.journal].count("DescribeFineTuningTask") == 3


@modes
def test_a_ready_model_is_returned(emulator, service, run_task, mode):
    model_id = service.model()
    end_after(emulator, polls=2)
    run = wait(run_task, "model", model_id, **MODES[mode])
    (version,) = emulator.models
    assert run.value == {
        "model_id": version["modelId"],
        "model_set_id": version["modelSetId"],
        "model_name": "bot-V1",
        "status": "Ready",
        "status_text": "Ready",
        "model": "HuggingFace",
        "description": None,
        "is_support_deploy": True,
        "console_url": run.xcom["_link_QianfanModelLink"],
    }
    assert run.xcom["model_set_id"] == version["modelSetId"]


@modes
@pytest.mark.parametrize(
    ("kind", "name", "state"),
    [("task", "will-fail", "Failed"), ("task", "stopped", "Stopped"), ("model", "will-fail", "Fail")],
)
@pytest.mark.parametrize("polls", [0, 2])
def test_failure_and_stop_end_the_task_without_retries(
    emulator, service, run_task, mode, kind, name, state, polls
):
    object_id = getattr(service, kind)(name)
    if state == "Stopped":
        QianfanHook().call(StopFineTuningTask(task_id=object_id))
    end_after(emulator, polls)
    run = wait(run_task, kind, object_id, **MODES[mode], **RETRIES)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == state
    assert f"{object_id} ended as {state} (see {emulator.endpoint}/qianfan/" in str(run.error)
    assert run.error.url == run.xcom[LINKS[kind]]
    assert run.tries == {"it": 1}


@modes
def test_unknown_states_are_logged_and_waited_on(emulator, service, run_task, capsys, mode):
    task_id = service.task()
    emulator.advance(2 * HOUR)
    emulator.fail_next("DescribeFineTuningTask", kind="unknown_status", word="Preempted", count=3)
    run = wait(run_task, "task", task_id, **MODES[mode])
    assert run.value["run_status"] == "Done"
    log = capsys.readouterr().out
    assert "Preempted" in log
    assert f"The state 'Preempted' of fine-tuning task {task_id} is not documented; waiting on." in log


# --- what goes wrong on the way


def _failed(emulator, reconnect, mode):
    emulator.advance(2 * HOUR)
    return {}


def _late(emulator, reconnect, mode):
    return {"timeout": 0.3}


def _unreadable(emulator, reconnect, mode):
    reconnect(emulator, max_retries=0)
    emulator.fail_next(kind="server_error", count=None)
    # Rescheduled, each poll is a process of its own, and only the time tells when it is enough.
    return {"max_poll_failures": 1} | ({"timeout": 1.5} if mode == "reschedule" else {})


def _forbidden(emulator, reconnect, mode):
    emulator.fail_next(kind="error", status=403, code="AccessDenied", count=None)
    return {}


TROUBLES = {"failed": _failed, "late": _late, "unreadable": _unreadable, "forbidden": _forbidden}


@modes
@pytest.mark.parametrize("trouble", TROUBLES)
@pytest.mark.parametrize("option", ["soft_fail", "never_fail"])
def test_soft_fail_and_never_fail_skip_the_task(
    emulator, service, run_task, reconnect, mode, trouble, option
):
    task_id = service.task("will-fail")
    arguments = TROUBLES[trouble](emulator, reconnect, mode)
    run = wait(run_task, "task", task_id, **MODES[mode], **arguments, **RETRIES, **{option: True})
    assert run.states == {"it": "skipped"}
    assert run.tries == {"it": 1}


@modes
@pytest.mark.parametrize(
    ("trouble", "errors", "tries"),
    [
        ("late", {"": AirflowSensorTimeout}, 1),
        (
            "unreadable",
            {"poke": QianfanServerError, "deferrable": QianfanPollError, "reschedule": AirflowSensorTimeout},
            None,
        ),
        ("forbidden", {"": QianfanPermissionError}, 1),
    ],
)
def test_a_sensor_that_cannot_see_the_end_fails(
    emulator, service, run_task, reconnect, mode, trouble, errors, tries
):
    task_id = service.task()
    arguments = TROUBLES[trouble](emulator, reconnect, mode)
    run = wait(run_task, "task", task_id, **MODES[mode], **arguments, **RETRIES)
    assert type(run.error) is errors.get(mode, errors.get(""))
    assert run.tries == {"it": tries or (1 if mode == "reschedule" else 3)}
    assert emulator.tasks[0]["runStatus"] == "Waiting"


@modes
def test_transient_failures_are_tolerated(emulator, service, run_task, reconnect, mode):
    reconnect(emulator, max_retries=0)
    task_id = service.task()
    emulator.advance(2 * HOUR)
    emulator.fail_next(kind="throttle", count=3)
    run = wait(run_task, "task", task_id, max_poll_failures=3, **MODES[mode])
    assert run.value["run_status"] == "Done"


@pytest.mark.parametrize("mode", ["poke", "deferrable"])
def test_a_training_that_does_not_exist_fails_in_the_end(emulator, run_task, mode):
    run = wait(run_task, "task", "task-gone", **MODES[mode], max_poll_failures=1)
    assert isinstance(run.error, QianfanNotFoundError if mode == "poke" else QianfanPollRefusedError)
    assert isinstance(run.error, AirflowFailException)
    assert "does not exist" in str(run.error)


# --- deadlines


@pytest.mark.parametrize("kind", ["task", "model"])
def test_the_deadline_is_stored_and_holds_across_restarts_of_the_triggerer(
    emulator, service, defer_task, kind
):
    start = time.time()
    sensor, arguments = sensor_of(kind, getattr(service, kind)(), timeout=1.5, deferrable=True)
    deferral = defer_task(sensor, **arguments)
    assert deferral.timeout > timedelta(seconds=1.5)
    first, second = deferral.make_trigger(), deferral.make_trigger()
    assert start + 1.5 <= first.deadline == second.deadline <= time.time() + 1.5

    async def run(trigger):
        return [event.payload async for event in trigger.run()]

    async def restart():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(run(first), 0.5)
        return await run(second)

    (event,) = asyncio.run(restart())
    assert event["status"] == "timeout"
    assert time.time() >= first.deadline


def test_what_is_stored_of_a_waiting_task_holds_no_secret(start_emulator, service, defer_task, capsys):
    emulator = start_emulator(secret_key=SECRET, session_token=SECRET[::-1])
    sensor, arguments = sensor_of("task", service.task(), deferrable=True, cancel_on_kill=True)
    deferral = defer_task(sensor, **arguments)
    text = f"{json.dumps(deferral.arguments)} {deferral.xcom} {capsys.readouterr()}"
    assert emulator.tasks[0]["taskId"] in text
    assert SECRET not in text
    assert SECRET[::-1] not in text


def test_time_runs_on_while_rescheduled(emulator, service, run_task):
    """Each poll is a process of its own; the limit counts from the first."""
    start = time.monotonic()
    run = wait(run_task, "task", service.task(), mode="reschedule", timeout=5)
    assert isinstance(run.error, AirflowSensorTimeout)
    assert time.monotonic() - start >= 5
    assert len([call for call in emulator.journal if call["action"] == "DescribeFineTuningTask"]) > 1


@pytest.mark.parametrize(
    ("soft_fail", "error"), [(False, AirflowSensorTimeout), (True, AirflowSkipException)]
)
def test_a_triggerer_that_never_answers_is_a_timeout(soft_fail, error):
    sensor = QianfanModelSensor(task_id="x", model_id="amv-1", soft_fail=soft_fail)
    with pytest.raises(error):
        sensor.resume_execution("__fail__", {"error": "Trigger timeout"}, {})


@pytest.mark.parametrize(
    "event",
    [None, {}, "success", {"status": "done"}, {"status": "success"}, {"status": "success", "output": None}],
)
@pytest.mark.parametrize("sensor", ["task", "model"])
def test_an_event_that_is_not_understood_is_a_failure(sensor, event):
    kind, arguments = sensor_of(sensor, "id-1")
    with pytest.raises(QianfanPollError):
        kind(task_id="x", **arguments).execute_complete({}, event)


# --- links and polls


@pytest.mark.parametrize("kind", ["task", "model"])
@pytest.mark.parametrize("end", ["success", "timeout"])
def test_the_link_is_there_while_deferred_and_after_it(emulator, service, defer_task, run_task, kind, end):
    object_id = getattr(service, kind)()
    sensor, arguments = sensor_of(kind, object_id, deferrable=True)
    link = defer_task(sensor, **arguments).xcom[LINKS[kind]]
    assert link.startswith(f"{emulator.endpoint}/qianfan/")
    assert kind == "model" or object_id in link
    if end == "success":
        end_after(emulator, polls=2)
    run = wait(run_task, kind, object_id, deferrable=True, timeout=120 if end == "success" else 0.3)
    assert run.states == {"it": "success" if end == "success" else "failed"}
    assert run.xcom[LINKS[kind]] == link


def test_poke_tells_whether_it_is_over(emulator, service):
    task_id = service.task()
    sensor = QianfanFineTuningTaskSensor(task_id="x", fine_tuning_task_id=task_id)
    assert sensor.poke({}) is False
    assert task_id in sensor.console_url
    emulator.advance(2 * HOUR)
    over = sensor.poke({})
    assert isinstance(over, PokeReturnValue)
    assert (over.is_done, over.xcom_value["run_status"]) == (True, "Done")


def test_progress_is_logged_only_when_something_changes(emulator, service, capsys):
    sensor = QianfanFineTuningTaskSensor(task_id="x", fine_tuning_task_id=service.task())
    for seconds in (0, 0, HOUR / 2, 0, 0, HOUR / 3, 2 * HOUR):
        emulator.advance(seconds)
        sensor.poke({})
    log = capsys.readouterr().out
    lines = [line for line in log.splitlines() if "] Fine-tuning task" in line]
    assert len(lines) == 4
    for line, parts in zip(
        lines,
        (["Waiting"], ["Running", "░ 41%"], ["Running", "%, ", "left"], ["Done, after"]),
        strict=True,
    ):
        assert all(part in line for part in parts)
    assert re.search(r"] Metric +Value", log)
    assert "Best checkpoint: step " in log
    assert f"In the console: {emulator.endpoint}/qianfan/" in log


@modes
def test_the_log_does_not_repeat_itself_in_any_mode(emulator, service, run_task, capfd, mode):
    """In reschedule mode each poll is a process of its own, and before Airflow 3.3 none knows of another; a
    deferred task has two."""
    task_id = service.task()
    end_after(emulator, polls=6)
    wait(run_task, "task", task_id, **MODES[mode])
    times = {"deferrable": 2, "reschedule": 1 if REMEMBERS else 6}.get(mode, 1)
    lines = re.findall(rf"Fine-tuning task {task_id}: (\w+)", capfd.readouterr().out)
    assert lines == ["Running"] * times + ["Done"]


def test_a_training_that_failed_is_an_error_in_the_log(emulator, service, capsys):
    task_id = service.task("will-fail")
    sensor = QianfanFineTuningTaskSensor(task_id="x", fine_tuning_task_id=task_id)
    emulator.advance(2 * HOUR)
    with pytest.raises(QianfanTerminalStateError):
        sensor.poke({})
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert f"Fine-tuning task {task_id} ended as Failed after " in line


@pytest.mark.parametrize(
    ("configured", "given", "seconds"),
    [(None, None, 30.0), ("7", None, 7.0), ("7", 3, 3.0), (None, timedelta(minutes=2), 120.0)],
)
def test_the_poke_interval_comes_from_the_argument_or_the_configuration(
    monkeypatch, configured, given, seconds
):
    monkeypatch.delenv("AIRFLOW__QIANFAN__POLL_INTERVAL", raising=False)
    if configured:
        monkeypatch.setenv("AIRFLOW__QIANFAN__POLL_INTERVAL", configured)
    sensor = QianfanModelSensor(task_id="x", model_id="amv-1", poke_interval=given)
    assert sensor.poke_interval == seconds
    assert sensor.make_trigger().poll_interval == seconds


# --- ending the task by hand


@pytest.mark.parametrize(("cancel", "state"), [(True, "Stopped"), (False, "Running")])
def test_a_worker_that_is_told_to_end_stops_the_training_only_if_asked_to(emulator, service, cancel, state):
    sensor = QianfanFineTuningTaskSensor(
        task_id="x", fine_tuning_task_id=service.task(), cancel_on_kill=cancel
    )
    emulator.advance(HOUR / 2)
    sensor.on_kill()
    assert emulator.tasks[0]["runStatus"] == state


@pytest.mark.parametrize("trouble", ["down", "hanging", "forbidden", "no connection"])
def test_a_worker_that_cannot_stop_the_training_says_so(
    start_emulator, service, monkeypatch, capsys, trouble
):
    emulator = start_emulator()
    task_id = service.task()
    match trouble:
        case "down":
            emulator.stop()
        case "hanging":
            emulator.fail_next(kind="timeout", count=None, seconds=60)
        case "forbidden":
            emulator.fail_next(kind="error", status=403, code="AccessDenied", count=None)
        case _:
            monkeypatch.delenv("AIRFLOW_CONN_QIANFAN_DEFAULT")
    sensor = QianfanFineTuningTaskSensor(task_id="x", fine_tuning_task_id=task_id, cancel_on_kill=True)
    sensor.on_kill()
    (line,) = [line for line in capsys.readouterr().out.splitlines() if "[error" in line]
    assert task_id in line
    assert "It may go on and cost money" in line
