"""Any Action is called."""

from __future__ import annotations

import pytest
from operator_values import RETRIES

from airflow_qianfan.exceptions import QianfanAmbiguousCreateError, QianfanRequestError
from airflow_qianfan.operators.action import QianfanActionOperator


@pytest.mark.parametrize(
    "body",
    [
        {"maxKeys": 1, "model": "{{ params.model }}"},
        '{"maxKeys": 1, "model": "{{ params.model }}"}',
    ],
    ids=["object", "json text"],
)
def test_any_action_returns_the_whole_answer(emulator, service, run_task, body):
    service.job("aa", model="M1")
    job_id = service.job("bb", model="M2")
    run = run_task(
        QianfanActionOperator,
        route="/v2/{{ params.route }}",
        action="Describe{{ params.what }}",
        body=body,
        params={"route": "finetuning", "what": "FineTuningJobs", "model": "M2"},
    )
    assert set(run.value) == {"requestId", "result"}
    assert run.value["requestId"] == emulator.journal[-1]["request_id"]
    assert [job["jobId"] for job in run.value["result"]["jobList"]] == [job_id]
    assert run.xcom["result"] == run.value["result"]


@pytest.mark.parametrize("body", [None, {}, ""])
def test_any_action_needs_no_body(emulator, run_task, body):
    run = run_task(
        QianfanActionOperator, route="/v2/finetuning", action="DescribeFineTuningSupportModels", body=body
    )
    assert isinstance(run.value["result"], list)


def test_any_action_that_does_not_exist_is_refused(emulator, run_task):
    run = run_task(QianfanActionOperator, route="/v2/model", action="InventModel", **RETRIES)
    assert isinstance(run.error, QianfanRequestError)
    assert run.tries == {"it": 1}


@pytest.mark.parametrize(
    ("repeatable", "calls", "state"), [(None, 1, "failed"), (False, 1, "failed"), (True, 2, "success")]
)
def test_any_action_is_repeated_only_if_that_is_safe(emulator, run_task, repeatable, calls, state):
    body = {"modelSetName": "bot", "modelType": "Text2Text"}
    emulator.fail_next("CreateCustomModelSet", kind="reset")
    run = run_task(
        QianfanActionOperator,
        route="/v2/model",
        action="CreateCustomModelSet",
        body=body,
        repeatable=repeatable,
    )
    assert run.state == state
    assert len(emulator.journal) == calls
    if state == "failed":
        assert isinstance(run.error, QianfanAmbiguousCreateError)
