"""An error stands in the log of the task in short lines, before Airflow's traceback."""

from __future__ import annotations

import logging
import re

import pytest
from creating import TASK_LOG

from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanPermissionError,
    QianfanTerminalStateError,
    QianfanValidationError,
)
from airflow_qianfan.report import report_errors


def reported(error, task_log):
    with pytest.raises(type(error)) as caught, report_errors(TASK_LOG, "my_conn"):
        raise error
    assert caught.value is error
    return task_log().splitlines()


def test_refusal_says_what_why_and_what_to_do(task_log):
    error = QianfanPermissionError(
        "no policy", action="CreateX", status_code=403, code="AccessDenied", request_id="r-1"
    )
    what, advice, details = reported(error, task_log)
    assert what == "ERROR CreateX: no policy"
    assert advice == f"ERROR What to do: {error.advice}"
    assert details.startswith("ERROR Details: ")
    for part in ("HTTP 403", "AccessDenied", "r-1", "connection 'my_conn'"):
        assert part in details


def test_error_without_advice_has_no_empty_line(task_log):
    lines = reported(QianfanValidationError("name must have 2 to 20 characters."), task_log)
    assert lines == [
        "ERROR name must have 2 to 20 characters",
        "ERROR Details: connection 'my_conn'",
    ]


def test_training_that_failed_names_its_page(task_log):
    error = QianfanTerminalStateError("task-1 ended as Failed", state="Failed", url="https://console/x")
    assert any("https://console/x" in line for line in reported(error, task_log))


def test_other_errors_are_left_to_airflow(task_log):
    with pytest.raises(ZeroDivisionError), report_errors(TASK_LOG, "my_conn"):
        raise ZeroDivisionError
    assert task_log() == ""


def test_success_says_nothing(task_log):
    with report_errors(TASK_LOG, "my_conn"):
        pass
    assert task_log() == ""


def test_operator_reports_before_it_raises(work, task_log):
    work.emulator.fail_next(work.kind.create, kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanPermissionError):
        work.attempt()
    lines = task_log().splitlines()
    assert lines[-3].startswith(f"ERROR {work.kind.create}: ")
    assert lines[-2].startswith("ERROR What to do: Give the user of the access key a policy")
    assert "connection 'qianfan_default'" in lines[-1]
    assert work.emulator.secret_key not in task_log()


def test_each_line_is_short_enough_to_be_read_at_once(work, task_log):
    work.emulator.fail_next(work.kind.create, kind="error", code="InappropriateJSON")
    with pytest.raises(QianfanError):
        work.attempt()
    errors = [line for line in task_log().splitlines() if line.startswith("ERROR")]
    assert len(errors) == 3
    # The last names all that the request is about.
    assert max(map(len, errors)) < 220


@pytest.mark.parametrize("event", [None, {}, {"status": "strange"}, {"status": "error", "message": "away"}])
def test_what_a_trigger_could_not_read_is_reported_with_what_goes_on(training, task_log, event):
    created = training.attempt(wait_for_completion=False)
    with pytest.raises(QianfanError):
        training.operator(wait_for_completion=True).execute_complete(training.context(), event)
    assert f"Fine-tuning task {created} goes on at Qianfan" in task_log()
    assert "re-attaches to it" in task_log()


def test_metrics_stand_in_the_log_when_a_training_ends(training, task_log):
    result = training.run(wait_for_completion=True, poll_interval=600.0)
    log = task_log()
    for name, value in result["metrics"].items():
        assert re.search(rf"^INFO {name} +{value:g}$", log, re.MULTILINE)
    assert f"Best checkpoint: step {result['best_checkpoint_step']}" in log
    assert result["console_url"] in log


def test_failure_of_a_training_is_no_mere_information(training, task_log):
    training.arguments["name"] = "will-fail"
    with pytest.raises(QianfanTerminalStateError):
        training.run(wait_for_completion=True, poll_interval=600.0)
    last = [line for line in task_log().splitlines() if "Failed" in line]
    assert last
    assert {line.partition(" ")[0] for line in last} <= {"ERROR", "WARNING"}
    assert logging.getLevelName(TASK_LOG.getEffectiveLevel()) == "INFO"
