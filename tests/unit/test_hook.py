"""What the hook does with its connection: calls, and no secret shown."""

from __future__ import annotations

import asyncio
import json

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.log import redact
from examples import READ, TASK
from wire import ACCESS_KEY, PROXY_PASSWORD, SECRETS, SESSION_TOKEN, config_of, ok, refusal, reply

from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs, StopFineTuningTask
from airflow_qianfan.compat import AirflowNotFoundException
from airflow_qianfan.exceptions import QianfanError, QianfanPermissionError
from airflow_qianfan.hooks.qianfan import QianfanHook

both = pytest.mark.parametrize("how", ["sync", "async"])


@both
def test_arguments_of_the_hook_come_before_the_connection(how, connection):
    connection(extra={"timeout": 30, "max_retries": 5})
    config = config_of(QianfanHook(timeout=4, max_retries=0), how)
    assert (config.timeout, config.max_retries) == (4, 0)


def test_connection_is_read_at_the_first_call_and_once(connection, wire, monkeypatch):
    reads = []
    original = BaseHook.get_connection.__func__

    def count(cls, conn_id):
        reads.append(conn_id)
        return original(cls, conn_id)

    monkeypatch.setattr(BaseHook, "get_connection", classmethod(count))
    wire.script(ok(TASK))
    hook = QianfanHook("qianfan_default")
    assert reads == []
    hook.call(READ)
    hook.call(READ)
    hook.call_action("/v2/finetuning", "DescribeX")
    assert reads == ["qianfan_default"]
    assert hook.get_conn() is hook.client


def test_hook_of_a_connection_that_is_missing_can_be_made_but_not_used():
    hook = QianfanHook("no_such_connection")
    with pytest.raises(AirflowNotFoundException):
        hook.call(READ)


def test_hook_calls_actions(connection, wire):
    hook = QianfanHook()
    wire.script(ok(TASK))
    assert hook.call(READ).task_id == "task-1"
    wire.script(reply({"requestId": "r", "result": [1]}))
    assert hook.call_action("/v2/x", "DescribeX", {"a": 1}) == {"requestId": "r", "result": [1]}
    assert json.loads(wire.last.content) == {"a": 1}
    wire.script(ok({"jobList": [{"jobId": "job-1"}]}))
    assert [row.job_id for row in hook.iterate(DescribeFineTuningJobs())] == ["job-1"]


async def test_hook_calls_actions_on_an_event_loop(connection, wire):
    hook = QianfanHook()
    wire.script(ok(TASK))
    assert (await hook.acall(READ)).task_id == "task-1"
    wire.script(reply({"requestId": "r", "result": [1]}))
    assert await hook.acall_action("/v2/x", "DescribeX", {"a": 1}) == {"requestId": "r", "result": [1]}
    assert json.loads(wire.last.content) == {"a": 1}
    async with hook.async_client() as client:
        wire.script(ok(True))
        assert await client.call(StopFineTuningTask(task_id="task-1")) is True


def test_hook_passes_on_whether_an_action_may_be_repeated(connection, wire, slept):
    wire.script(reply(None, 503))
    hook = QianfanHook()
    with pytest.raises(QianfanError):
        hook.call_action("/v2/x", "ModifyX", repeatable=True)
    assert len(wire.requests) == 4
    with pytest.raises(QianfanError):
        asyncio.run(hook.acall_action("/v2/x", "ModifyX", repeatable=True))
    assert len(wire.requests) == 8


@both
def test_error_of_the_service_comes_through_the_hook(how, connection, wire):
    wire.script(refusal("AccessDenied", 403))
    with pytest.raises(QianfanPermissionError):
        QianfanHook().call(READ) if how == "sync" else asyncio.run(QianfanHook().acall(READ))


# Secrets


@both
def test_secret_is_masked_in_logs_also_when_it_comes_from_the_environment(how, connection, monkeypatch):
    secret = f"SK-only-here-{how}"
    connection(login=None, password=None)
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", ACCESS_KEY)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", secret)
    assert redact(f"key {secret}") == f"key {secret}"
    config_of(QianfanHook(), how)
    assert redact(f"key {secret}") == "key ***"


def test_hook_shows_no_secret(connection, wire, logs):
    connection(
        extra={"session_token": SESSION_TOKEN, "proxy": f"http://user:{PROXY_PASSWORD}@proxy.example:8080"}
    )
    wire.script(ok(TASK))
    hook = QianfanHook()
    hook.call(READ)
    asyncio.run(hook.acall(READ))
    shown = f"{hook} {hook!r} {vars(hook)} {hook.client!r} {logs()}"
    assert not [secret for secret in SECRETS if secret in shown]
    assert "DescribeFineTuningTask answered, request id req-1" in shown
