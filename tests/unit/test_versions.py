"""What is different before Airflow 3.3, on whichever version the tests run."""

from __future__ import annotations

import asyncio
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Connection
from structlog.testing import capture_logs
from wire import ACCESS_KEY, ENDPOINT, SECRET_KEY, SESSION_TOKEN

from airflow_qianfan import compat
from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.base.origin import derived_identity
from airflow_qianfan.operators.finetuning import QianfanCreateFineTuningJobOperator


def context(**ids: Any) -> Any:
    ids = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "max_tries": 0} | ids
    return {"ti": SimpleNamespace(try_number=1, **ids)}


def test_every_attempt_of_a_run_derives_the_same_identity_and_nobody_else_does(monkeypatch):
    monkeypatch.delenv("AIRFLOW__QIANFAN__DEPLOYMENT", raising=False)
    others = [
        {"dag_id": "e"},
        {"run_id": "s"},
        {"task_id": "u"},
        {"map_index": 0},
        {"max_tries": 1},
    ]
    found = [derived_identity(context(**other)) for other in ({}, *others)]
    monkeypatch.setenv("AIRFLOW__QIANFAN__DEPLOYMENT", "staging")
    found.append(derived_identity(context()))
    monkeypatch.setenv("AIRFLOW__QIANFAN__DEPLOYMENT", "production")
    found.append(derived_identity(context()))
    assert derived_identity(context()) == found[-1]
    assert len(set(found)) == len(found)


def test_where_airflow_guarantees_less_the_log_begins_with_it(monkeypatch):
    monkeypatch.setattr(QianfanCreateFineTuningJobOperator, "run_action", lambda *_: {})
    task = QianfanCreateFineTuningJobOperator(task_id="t", name="name", model="model", train_mode="SFT")
    monkeypatch.setattr(compat, "REMEMBERS", False)
    with capture_logs() as less:
        task.execute(context())
    first, *others = [line["event"] for line in less if line["log_level"] == "info"]
    assert first.startswith("::group::Airflow ")
    assert "before you clear this task, stop at Qianfan what still goes on" in first
    assert any("[qianfan] deployment" in line for line in others)
    monkeypatch.setattr(compat, "REMEMBERS", True)
    with capture_logs() as all_of_it:
        task.execute(context())
    assert [line for line in all_of_it if line["log_level"] == "info"] == []


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (("__airflow_user_action__",), True),
        ((), True),
        (("EOF - shutting down",), False),
        (("Supervisor closed",), False),
    ],
)
async def test_a_trigger_knows_whether_airflow_has_cancelled_it(message, expected):
    assert compat.is_cancelled_by_airflow(asyncio.CancelledError(*message)) is expected


def test_a_triggerer_that_ends_is_no_user():
    """It leaves its event loop, which cancels all tasks without a message."""
    found = []

    async def wait() -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError as error:
            found.append(compat.is_cancelled_by_airflow(error))
            raise

    async def run() -> None:
        waiting = [asyncio.ensure_future(wait()) for _ in range(3)]
        await asyncio.sleep(0)
        waiting[0].cancel()
        await asyncio.wait(waiting[:1])
        tasks.extend(waiting)

    tasks: list[Any] = []
    asyncio.run(run())
    assert found == [True, False, False]


async def test_a_connection_is_read_where_airflow_cannot_read_it_on_an_event_loop(monkeypatch):
    monkeypatch.delattr(Connection, "aextra_dejson", raising=False)
    monkeypatch.setenv(
        "AIRFLOW_CONN_QIANFAN_DEFAULT",
        f'{{"conn_type": "qianfan", "login": "{ACCESS_KEY}", "password": "{SECRET_KEY}", '
        f'"host": "{ENDPOINT}", "extra": {{"session_token": "{SESSION_TOKEN}", "timeout": 7}}}}',
    )
    config = await QianfanHook().aget_config()
    assert config.access_key_id == ACCESS_KEY
    assert config.secret_access_key.get_secret_value() == SECRET_KEY
    assert config.timeout == 7
    assert SESSION_TOKEN in config.secrets


def test_the_form_of_3_1_has_a_widget_for_each_field(monkeypatch):
    class Widget:
        def __init__(self, label: str, description: str) -> None:
            self.label, self.description = label, description

    kinds = {
        name: type(name, (Widget,), {})
        for name in ("BooleanField", "IntegerField", "PasswordField", "StringField")
    }
    monkeypatch.setitem(sys.modules, "wtforms", SimpleNamespace(**kinds))
    (connection_type,) = get_provider_info()["connection-types"]
    widgets = QianfanHook.get_connection_form_widgets()
    assert widgets.keys() == connection_type["conn-fields"].keys()
    shown = {name: type(widget).__name__ for name, widget in widgets.items()}
    assert shown["session_token"] == shown["api_key"] == shown["proxy"] == "PasswordField"
    assert shown["max_retries"] == "IntegerField"
    assert shown["allow_http"] == "BooleanField"
    assert {shown[name] for name in ("timeout", "max_qps", "verify")} == {"StringField"}
    behaviour = QianfanHook.get_ui_field_behaviour()
    assert behaviour.keys() == {"hidden_fields", "relabeling", "placeholders"}
