"""A model version is exported, on a worker and in the triggerer."""

from __future__ import annotations

import json

import pytest
from operator_values import HOUR, MODES, RETRIES, actions_of

from airflow_qianfan.api.actions.model import CreateModelExportTask
from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanPermissionError,
    QianfanTerminalStateError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators.model import (
    QianfanCreateModelExportTaskOperator,
    QianfanDescribeModelExportTaskOperator,
    QianfanModelExportOperator,
)
from airflow_qianfan.sensors.model import QianfanModelExportSensor

FAST = {"poll_interval": 0.05}
SENSOR_MODES = pytest.mark.parametrize(
    "how",
    [{"mode": "poke"}, {"mode": "reschedule"}, {"deferrable": True}],
    ids=["poke", "reschedule", "defer"],
)


@pytest.fixture
def model_id(emulator, service):
    return ready_model(emulator, service)


def ready_model(emulator, service):
    model_id = service.model()
    emulator.advance(2 * HOUR)
    return model_id


def export_of(model_id):
    return QianfanHook().call(CreateModelExportTask(model_id=model_id)).export_id


def exports(emulator):
    return [found["exportId"] for found in emulator.objects("model_export")]


def test_create_returns_both_ids_at_once(emulator, model_id, run_task):
    run = run_task(QianfanCreateModelExportTaskOperator, model_id="{{ params.m }}", params={"m": model_id})
    (export,) = emulator.objects("model_export")
    assert export["request"] == {"modelId": model_id}
    assert run.value == {"model_id": model_id, "export_id": export["exportId"]}
    assert {name: run.xcom[name] for name in run.value} == run.value


@MODES
def test_the_whole_step_returns_a_link_which_no_event_holds(
    start_emulator, service, run_task, deferrable, capfd
):
    emulator = start_emulator(model_seconds=0.3)
    model_id = ready_model(emulator, service)
    run = run_task(QianfanModelExportOperator, model_id=model_id, deferrable=deferrable, **FAST)
    (export,) = emulator.objects("model_export")
    assert run.value["download_url"] == export["downloadUrl"]
    assert (run.value["status"], run.value["has_record"]) == ("Done", True)
    for member, name in [("fileName", "file_name"), ("md5", "md5"), ("fileSize", "file_size")]:
        assert run.value[name] == export[member]
    assert run.value["export_id"] == run.xcom["export_id"] == export["exportId"]
    shown = capfd.readouterr()
    fired = [line for line in (shown.out + shown.err).splitlines() if "TriggerEvent" in line]
    assert not [line for line in fired if "authorization=" in line]


@MODES
@pytest.mark.parametrize(("how", "state"), [("Fail", "Fail"), ("no record", None)])
def test_an_export_that_fails_or_vanishes_ends_the_task(
    start_emulator, service, run_task, deferrable, how, state
):
    emulator = start_emulator(
        model_seconds=0.2, assumptions=Assumptions(exports_fail=True, failed_export=how)
    )
    model_id = ready_model(emulator, service)
    run = run_task(QianfanModelExportOperator, model_id=model_id, deferrable=deferrable, **FAST, **RETRIES)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == state
    expected = "ended as Fail" if how == "Fail" else "it was never created, or has failed"
    assert expected in str(run.error)
    assert run.tries == {"it": 1}
    assert len(emulator.objects("model_export")) == 1


def test_an_export_that_cannot_be_seen_yet_is_waited_for(start_emulator, service, run_task):
    emulator = start_emulator(model_seconds=0.4)
    model_id = ready_model(emulator, service)
    emulator.fail_next("DescribeModelExportTask", kind="stale", seconds=60, count=4)
    assert run_task(QianfanModelExportOperator, model_id=model_id, **FAST).value["status"] == "Done"
    assert len(exports(emulator)) == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "lost_answer"},
        {"kind": "server_error"},
        {"kind": "server_error", "effect": True},
        {"kind": "malformed", "effect": True},
        {"kind": "reset"},
    ],
    ids=lambda fault: "-".join(map(str, fault.values())),
)
@pytest.mark.parametrize("earlier", [False, True], ids=["first", "again"])
def test_an_export_is_created_once_although_its_answer_fails(emulator, model_id, run_task, fault, earlier):
    before = [export_of(model_id)] if earlier else []
    emulator.fail_next("CreateModelExportTask", **fault)
    run = run_task(QianfanCreateModelExportTaskOperator, model_id=model_id, **RETRIES)
    (export_id,) = exports(emulator)[len(before) :]
    if fault.get("effect") or fault["kind"] == "lost_answer":
        # Another task may have exported the version.
        assert isinstance(run.error, QianfanAmbiguousCreateError)
        assert f"nothing tells whose {export_id} is" in str(run.error)
    else:
        assert run.value == {"model_id": model_id, "export_id": export_id}
    assert run.tries == {"it": 1}


def test_without_durable_a_lost_answer_fails_and_is_not_repeated(emulator, model_id, run_task):
    emulator.fail_next("CreateModelExportTask", kind="lost_answer")
    run = run_task(QianfanCreateModelExportTaskOperator, model_id=model_id, durable=False, **RETRIES)
    assert isinstance(run.error, QianfanAmbiguousCreateError)
    assert actions_of(emulator).count("CreateModelExportTask") == 1


def test_the_latest_export_is_described(emulator, model_id, run_task):
    def describe():
        value = run_task(
            QianfanDescribeModelExportTaskOperator, model_id="{{ params.m }}", params={"m": model_id}
        ).value
        return value["has_record"], value["export_id"], value["status"], value["download_url"]

    assert describe() == (False, None, None, None)
    export_of(model_id)
    second = export_of(model_id)
    assert describe() == (True, second, "Doing", None)
    emulator.advance(2 * HOUR)
    assert describe()[:3] == (True, second, "Done")
    assert describe()[3].startswith("https://")


def test_a_key_that_may_only_read_may_not_describe_an_export(start_emulator, service, monkeypatch, run_task):
    emulator = start_emulator(read_only_keys={"reader": "r" * 32})
    model_id = ready_model(emulator, service)
    connection = json.loads(emulator.connection_json) | {"login": "reader", "password": "r" * 32}
    monkeypatch.setenv("AIRFLOW_CONN_OTHER", json.dumps(connection))
    run = run_task(QianfanDescribeModelExportTaskOperator, model_id=model_id, qianfan_conn_id="other")
    assert isinstance(run.error, QianfanPermissionError)


@SENSOR_MODES
def test_sensor_waits_for_the_latest_export(start_emulator, service, run_task, how):
    emulator = start_emulator(model_seconds=0.4)
    model_id = ready_model(emulator, service)
    export_id = export_of(model_id)
    run = run_task(QianfanModelExportSensor, model_id=model_id, poke_interval=0.1, **how)
    assert (run.value["export_id"], run.value["status"]) == (export_id, "Done")
    assert "download_url" not in run.value


@SENSOR_MODES
def test_sensor_fails_where_there_is_no_export_for_long(emulator, model_id, run_task, how):
    run = run_task(QianfanModelExportSensor, model_id=model_id, poke_interval=0.1, timeout=60, **how)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert f"there is no export of model version {model_id}" in str(run.error)
    assert len(actions_of(emulator)) > 3
