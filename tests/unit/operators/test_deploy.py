"""A model version is deployed in one step as a new service, and asked something."""

from __future__ import annotations

import json
import time

import pytest
from creating import Work
from deploying_versions import DEPLOY

from airflow_qianfan.compat import AirflowFailException, AirflowTaskTimeout
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.exceptions import (
    QianfanError,
    QianfanExecutionTimeoutError,
    QianfanInferenceError,
    QianfanInferenceRefusedError,
    QianfanTerminalStateError,
    QianfanValidationError,
)
from airflow_qianfan.operators.base import smoke
from airflow_qianfan.operators.service import QianfanServiceOperator


@pytest.fixture
def work(emulator):
    return Work(emulator, DEPLOY)


# A new service


def test_new_service_is_created_waited_for_and_asked(work):
    result = work.run(smoke_test="ping")
    (service,) = work.emulator.services
    assert result == {
        "service_id": service["serviceId"],
        "model_set_id": service["modelSetId"],
        "model_id": service["modelId"],
        "previous_model_id": None,
        "url": service["url"],
        "endpoint": service["endpoint"],
        "status": "Serving",
        "answer": f"{service['modelId']} heard: ping",
        "console_url": f"{work.emulator.endpoint}/qianfan/ais/console/onlineService",
    }
    assert work.xcoms["service_id"] == service["serviceId"]
    assert work.calls("ChatCompletion") == 1


def test_without_a_smoke_test_nothing_is_asked(work):
    assert work.run()["answer"] is None
    assert work.run(2, smoke_test="")["answer"] is None
    assert work.calls("ChatCompletion") == 0


def test_without_waiting_only_the_ids_are_returned(work):
    result = work.run(wait_for_completion=False)
    assert result.pop("name").startswith("nightly_")
    expected = {"service_id": work.ours()[0], "model_id": work.arguments["model_id"]}
    assert result == {**expected, "previous_model_id": None}


def test_retry_attaches_to_the_service_and_asks_it_again(work):
    work.emulator.fail_next("ChatCompletion", kind="server_error", count=None)
    with pytest.raises(QianfanInferenceError) as caught:
        work.run(smoke_test="ping")
    assert not isinstance(caught.value, AirflowFailException)
    work.emulator.clear_faults()
    assert work.run(2, smoke_test="ping")["service_id"] == work.ours()[0]
    assert len(work.ours()) == 1


def test_service_that_does_not_answer_is_named_with_what_it_costs(work, task_log):
    work.emulator.fail_next("ChatCompletion", kind="error", code="access_denied", status=401)
    with pytest.raises(QianfanInferenceRefusedError):
        work.run(smoke_test="ping")
    assert f"Service {work.ours()[0]} goes on, and costs money" in task_log()


def test_failed_service_is_an_error(work):
    with pytest.raises(QianfanTerminalStateError, match="ended as Failed"):
        work.run(name="will-fail", smoke_test="ping")
    assert work.calls("ChatCompletion") == 0


@pytest.mark.parametrize("smoke_test", [5, [5], [{"content": "x"}], [{"role": "user", "content": {1}}]])
def test_bad_messages_are_refused_before_anything_is_paid(work, smoke_test):
    with pytest.raises(QianfanValidationError, match="smoke_test"):
        work.run(smoke_test=smoke_test)
    assert work.sent() == 0


@pytest.mark.parametrize(
    ("smoke_test", "messages"),
    [
        (None, None),
        ("", None),
        (" ", None),
        ([], None),
        ("ping", [{"role": "user", "content": "ping"}]),
        ("[INST] ping", [{"role": "user", "content": "[INST] ping"}]),
        ('[{"role": "user", "content": "x"}]', [{"role": "user", "content": "x"}]),
        (({"role": "user", "content": "x"},), [{"role": "user", "content": "x"}]),
    ],
    ids=str,
)
def test_smoke_test_is_a_prompt_or_messages(smoke_test, messages):
    assert smoke.read_messages(smoke_test) == messages


def test_long_answer_is_shortened(work):
    answer = work.run(smoke_test="x" * 2000)["answer"]
    assert len(answer) == smoke.MAX_ANSWER + 1
    assert answer.endswith("…")


@pytest.mark.parametrize(
    "arguments",
    [
        {"wait_for_completion": False, "smoke_test": "ping"},
        {"wait_for_completion": False, "roll_back": True, "service_id": "svco-1"},
        {"roll_back": True},
    ],
    ids=str,
)
def test_arguments_that_contradict_each_other_are_refused_when_a_dag_is_parsed(arguments):
    with pytest.raises(ValueError, match=r"smoke_test and roll_back wait|roll_back needs service_id"):
        QianfanServiceOperator(task_id="x", model_set_id="am-1", model_id="amv-1", **arguments)


# The smoke test


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "server_error", "status": 503},
        {"kind": "reset"},
        {"kind": "malformed"},
        {"kind": "error", "code": "internal_error", "status": 400},
        {"kind": "error", "code": "invalid_model", "status": 401},
        {"kind": "throttle", "code": "rpm_rate_limit_exceeded", "status": 200},
        {"kind": "throttle", "code": "tpm_rate_limit_exceeded"},
    ],
    ids=lambda fault: f"{fault['kind']} {fault.get('code', '')}".strip(),
)
def test_what_may_pass_is_tried_for_a_minute(work, fault):
    work.emulator.fail_next("ChatCompletion", count=3, **fault)
    assert work.run(smoke_test="ping")["answer"]
    assert work.calls("ChatCompletion") == 4
    work.emulator.fail_next("ChatCompletion", count=None, **fault)
    slept = len(work.emulator.slept)
    with pytest.raises(QianfanError) as caught:
        work.run(2, smoke_test="ping")
    assert not isinstance(caught.value, AirflowFailException)
    assert sum(work.emulator.slept[slept:]) == pytest.approx(60, abs=1)


@pytest.mark.parametrize(
    "fault",
    [
        {"code": "tokens_too_long", "status": 400},
        {"code": "no_parameter_permission", "status": 401},
        {"code": "access_denied", "status": 403},
        {"code": "tokens_too_long", "status": 200},
    ],
    ids=str,
)
def test_other_refusals_are_final_also_under_http_200(work, fault):
    work.emulator.fail_next("ChatCompletion", kind="error", **fault)
    with pytest.raises(QianfanInferenceRefusedError, match=fault["code"]):
        work.run(smoke_test="ping")
    assert work.calls("ChatCompletion") == 1


def test_service_may_need_a_moment_before_it_answers(work):
    work.emulator._backend.assumptions = Assumptions(chat_delay_seconds=40)
    assert work.run(smoke_test="ping", poll_interval=20.0, max_poll_interval=20.0)["answer"]
    assert work.calls("ChatCompletion") > 1


def without_api_key(monkeypatch, emulator) -> None:
    connection = json.loads(emulator.connection)
    del connection["extra"]["api_key"]
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))


def test_without_an_api_key_a_short_lived_token_is_made(work, monkeypatch):
    without_api_key(monkeypatch, work.emulator)
    assert work.run(smoke_test="ping")["answer"]
    assert work.calls("CreateBearerToken") == 1


def test_token_that_cannot_be_made_for_now_is_asked_for_again(work, monkeypatch):
    without_api_key(monkeypatch, work.emulator)
    work.emulator.fail_next("CreateBearerToken", kind="server_error", count=2)
    assert work.run(smoke_test="ping")["answer"]
    work.emulator.fail_next("CreateBearerToken", kind="error", code="AccessDenied", status=403)
    with pytest.raises(QianfanError, match="AccessDenied"):
        work.run(2, smoke_test="ping")


def test_wrong_api_key_is_told_at_once_and_not_shown(work, monkeypatch, task_log):
    connection = json.loads(work.emulator.connection)
    connection["extra"]["api_key"] = "bce-v3/ALTAK-wrong/5ec0e7"
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))
    with pytest.raises(QianfanInferenceRefusedError, match="invalid_iam_token") as caught:
        work.run(smoke_test="ping")
    assert "api_key" in str(caught.value)
    shown = f"{task_log()} {caught.value!r} {json.dumps(work.store.values)} {json.dumps(work.xcoms)}"
    assert "5ec0e7" not in shown


# Its end


def test_new_service_of_a_task_that_is_ended_is_taken_off_line(work, monkeypatch):
    monkeypatch.setattr("airflow_qianfan.operators.base.wait.user_has_ended_task", lambda *_, **__: True)
    operator = work.operator(smoke_test="ping")
    work.emulator.fail_next("ChatCompletion", kind="server_error", count=None)
    sleep = time.sleep

    def end(seconds):
        if work.calls("ChatCompletion"):
            operator.on_kill()
        sleep(seconds)

    monkeypatch.setattr(time, "sleep", end)
    with pytest.raises(QianfanError):
        work.run(operator=operator)
    assert work.calls("DeactivateService") >= 1
    assert work.emulator.services[0]["runStatus"] == "Stopped"


def test_new_service_stays_where_the_worker_ends_while_a_resumed_task_hands_over_its_result(work):
    service_id = work.run()["service_id"]
    operator = work.operator()
    output = {"service_id": service_id}
    event = {"status": "success", "state": "Serving", "output": output, "ids": output}
    operator.resume_execution("execute_complete", {"event": event}, work.context())
    # Airflow has left the context of the task.
    operator.on_kill()
    assert work.calls("DeactivateService") == 0


def test_time_that_is_over_takes_a_new_service_off_line(work, monkeypatch):
    operator = work.operator()

    def out_of_time(context):
        raise AirflowTaskTimeout("over")

    monkeypatch.setattr(operator, "_wait", out_of_time)
    with pytest.raises(QianfanExecutionTimeoutError, match="was stopped"):
        work.run(operator=operator)
    assert work.emulator.services[0]["runStatus"] == "Stopped"
