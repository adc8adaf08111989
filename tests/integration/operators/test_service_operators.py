"""Services and compute units, each Action and the whole step, on a worker and in the triggerer."""

from __future__ import annotations

import json
import re
from datetime import timedelta

import pytest
from operator_values import FILES, HOUR, MARK, MODES, RETRIES, actions_of

from airflow_qianfan.api.actions.model import CreateCustomModel
from airflow_qianfan.api.actions.service import CreateService, DescribeService
from airflow_qianfan.compat import REMEMBERS, AirflowSensorTimeout
from airflow_qianfan.emulator import Assumptions
from airflow_qianfan.exceptions import (
    QianfanExecutionTimeoutError,
    QianfanNotFoundError,
    QianfanTerminalStateError,
    QianfanUpdateError,
)
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.operators import compute_unit, service
from airflow_qianfan.operators.base import smoke
from airflow_qianfan.sensors.compute_unit import QianfanComputeUnitSensor
from airflow_qianfan.sensors.service import QianfanServiceSensor

RESOURCES = {
    "resource_config": {"region": "bj", "type": "GPU-1-1", "qps": 5},
    "billing": {"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"},
}
POLL = {"poll_interval": 0.05, "max_poll_interval": 0.05}


class Account:
    """Makes what a test needs to be there."""

    def __init__(self, emulator, made):
        self.emulator = emulator
        self._made = made

    def version(self, name="bot"):
        request = CreateCustomModel(
            model_set_id=self._made.model_set(name), source_type="Import", import_meta=FILES
        )
        created = QianfanHook().call(request)
        self.emulator.advance(2 * HOUR)
        return {"model_set_id": created.model_set_id, "model_id": created.model_id}

    def service(self, name="faq", **more):
        members = {**self.version(f"set-{name[-3:]}"), "name": name, "url_suffix": "faq", **RESOURCES, **more}
        return QianfanHook().call(CreateService(**members)).service_id

    def serving(self, name="faq", **more):
        service_id = self.service(name, **more)
        self.emulator.advance(2 * HOUR)
        return service_id

    def show(self, service_id):
        return QianfanHook().call(DescribeService(service_id=service_id))


@pytest.fixture
def account(emulator, service):
    return Account(emulator, service)


@pytest.fixture
def quick(start_emulator, service):
    """An account at which services and versions take a moment of real time."""
    return Account(start_emulator(model_seconds=0.4), service)


# One Action each


def test_creating_a_service_sends_every_field_rendered(account, run_task):
    version = account.version()
    run = run_task(
        service.QianfanCreateServiceOperator,
        model_set_id="{{ params.set }}",
        model_id="{{ params.version }}",
        name="faq {{ params.n }}",
        url_suffix="faq_{{ params.n }}",
        description="number {{ params.n }}",
        deployment_config='{"deploymentComputeUnitList": []}',
        resource_config={"type": "GPU-{{ params.n }}-1"},
        billing='{"paymentTiming": "Postpaid"}',
        protocol_version="{{ params.n }}",
        params={"set": version["model_set_id"], "version": version["model_id"], "n": 1},
    )
    (created,) = account.emulator.services
    assert re.fullmatch(f"number 1 {MARK}", created["description"])
    assert created["request"] == {
        "modelSetId": version["model_set_id"],
        "modelId": version["model_id"],
        "name": "faq 1",
        "urlSuffix": "faq_1",
        "description": created["description"],
        "deploymentConfig": {"deploymentComputeUnitList": []},
        "resourceConfig": {"type": "GPU-1-1"},
        "billing": {"paymentTiming": "Postpaid"},
        "protocolVersion": 1,
    }
    assert run.value == {"service_id": created["serviceId"], "name": "faq 1"}
    assert run.xcom["_link_QianfanServiceLink"].endswith("/qianfan/ais/console/onlineService")


def test_name_and_address_are_made_where_none_is_given_and_the_protocol_is_the_second(account, run_task):
    run_task(service.QianfanCreateServiceOperator, **account.version(), **RESOURCES)
    (created,) = account.emulator.services
    request = created["request"]
    assert request["name"] == request["urlSuffix"]
    assert re.fullmatch(r"[a-z0-9_]{2,20}", request["name"])
    assert request["protocolVersion"] == 2


@MODES
def test_creating_a_service_can_wait_until_it_serves(quick, run_task, deferrable):
    run = run_task(
        service.QianfanCreateServiceOperator,
        **quick.version(),
        **RESOURCES,
        wait_for_completion=True,
        deferrable=deferrable,
        **POLL,
    )
    assert (run.value["status"], run.value["run_status"]) == ("Serving", "Serving")
    assert run.value["endpoint"] == quick.emulator.services[0]["endpoint"]


def test_service_is_described_and_listed(account, run_task):
    old, new = account.serving("old", protocol_version=1), account.service("new")
    run = run_task(service.QianfanDescribeServiceOperator, service_id=old)
    assert (run.value["service_id"], run.value["status"]) == (old, "Serving")
    assert run.value["update_status"] == "None"
    listed = run_task(service.QianfanDescribeServicesOperator).value
    assert [row["service_id"] for row in listed] == [new]
    listed = run_task(service.QianfanDescribeServicesOperator, protocol_version=1, run_status=["Serving"])
    assert [row["service_id"] for row in listed.value] == [old]


def test_service_is_modified_and_the_sensor_waits_for_the_end_of_the_update(quick, run_task):
    service_id, version = quick.serving(), quick.version("second")
    run = run_task(service.QianfanModifyServiceOperator, service_id=service_id, **version)
    assert run.value == {"service_id": service_id, **version}
    run = run_task(QianfanServiceSensor, service_id=service_id, poke_interval=0.05, timeout=60)
    assert (run.value["status"], run.value["model_id"]) == ("Serving", version["model_id"])


@MODES
def test_sensor_waits_and_fails_with_the_service(quick, run_task, deferrable):
    arguments = {"poke_interval": 0.05, "timeout": 60, "deferrable": deferrable}
    run = run_task(QianfanServiceSensor, service_id=quick.service(), **arguments)
    assert run.value["status"] == "Serving"
    run = run_task(QianfanServiceSensor, service_id=quick.service("fail-bot"), **arguments)
    assert isinstance(run.error, QianfanTerminalStateError)
    assert run.error.state == "Failed"


@MODES
def test_sensor_waits_no_longer_than_its_timeout_for_a_service_nobody_pays(account, run_task, deferrable):
    run = run_task(
        QianfanServiceSensor,
        service_id=account.service(),
        poke_interval=0.05,
        timeout=0.3,
        deferrable=deferrable,
    )
    assert isinstance(run.error, AirflowSensorTimeout)
    assert "DeactivateService" not in actions_of(account.emulator)


def test_deactivate_returns_when_the_service_is_really_off_line(start_emulator, service_account, run_task):
    account = service_account(start_emulator(assumptions=Assumptions(stop_delay_seconds=0.3)))
    service_id = account.serving()
    run = run_task(service.QianfanDeactivateServiceOperator, service_id=service_id, poll_interval=0.05)
    assert run.value == {"service_id": service_id, "status": "Stopped", "run_status": "Stopped"}
    assert actions_of(account.emulator).count("DescribeService") > 1
    again = run_task(service.QianfanDeactivateServiceOperator, service_id=service_id)
    assert again.value["status"] == "Stopped"
    run = run_task(service.QianfanDeactivateServiceOperator, service_id="svco-none")
    assert isinstance(run.error, QianfanNotFoundError)


@pytest.fixture
def service_account(service):
    return lambda emulator: Account(emulator, service)


def test_units_are_bought_used_scaled_and_given_back(quick, run_task):
    bought = run_task(
        compute_unit.QianfanPurchaseComputeUnitOperator,
        compute_unit_count="{{ params.n }}",
        compute_unit_config={"region": "bj", "type": "gpu-{{ params.n }}"},
        billing='{"paymentTiming": "Postpaid"}',
        wait_for_completion=True,
        params={"n": 2},
        **POLL,
    )
    assert (bought.value["status"], bought.value["type"]) == ("Running", "gpu-2")
    unit_id = bought.value["compute_unit_id"]
    assert bought.xcom["compute_unit_id"] == unit_id
    placed = {"deploymentComputeUnitList": [{"instanceId": unit_id, "deploymentReplicasCount": 1}]}
    created = run_task(
        service.QianfanCreateServiceOperator,
        **quick.version(),
        deployment_config=placed,
        wait_for_completion=True,
        **POLL,
    )
    scale = {"service_id": created.value["service_id"], "compute_unit_id": unit_id}
    run = run_task(service.QianfanScaleServiceOperator, **scale, deployment_replicas_count="2")
    assert run.value == {**scale, "deployment_replicas_count": 2}
    described = run_task(compute_unit.QianfanDescribeComputeUnitOperator, compute_unit_id=unit_id).value
    assert described["services"][0]["deploymentReplicasCount"] == 2
    later = {"compute_unit_id": unit_id, "release_time": "2099-01-31 08:00:00"}
    assert run_task(compute_unit.QianfanAutoReleaseComputeUnitOperator, **later).value == later
    run = run_task(compute_unit.QianfanReleaseComputeUnitOperator, compute_unit_id=unit_id)
    assert run.value == {"compute_unit_id": unit_id, "status": "Released", "status_text": "Released"}


@MODES
def test_sensor_waits_for_units(quick, run_task, deferrable):
    bought = run_task(
        compute_unit.QianfanPurchaseComputeUnitOperator,
        compute_unit_count=1,
        compute_unit_config={"region": "bj", "type": "cpu"},
        billing={"paymentTiming": "Postpaid"},
    )
    run = run_task(
        QianfanComputeUnitSensor,
        compute_unit_id=bought.value["compute_unit_id"],
        poke_interval=0.05,
        timeout=60,
        deferrable=deferrable,
    )
    assert run.value["status"] == "Running"


def test_log_store_and_preset_services(account, run_task):
    arguments = {"service_id": account.service(), "log_project": "p", "log_store_name": "s"}
    run = run_task(service.QianfanAttachLogStoreOperator, **arguments)
    assert run.value == {**arguments, "log_region": None, "service_type": "Custom"}
    run = run_task(service.QianfanDescribePresetServicesOperator, charge_type='["Free"]')
    (row,) = run.value["services"]
    assert row["service_id"].startswith("svcp-")
    assert row["charge_type"] == "Free"


def test_calls_are_counted_in_the_interval_of_a_dag_run(account, run_task):
    address = account.show(account.serving()).address
    for _ in range(3):
        QianfanHook().chat(address, [{"role": "user", "content": "ping"}])
    period = {"start_time": "2000-01-01T00:00:00+00:00", "end_time": "2099-01-01T08:00:00+08:00"}
    run = run_task(service.QianfanDescribeServiceMetricOperator, **period)
    assert (run.value["start_time"], run.value["end_time"]) == (
        "2000-01-01T00:00:00Z",
        "2099-01-01T00:00:00Z",
    )
    (row,) = run.value["services"]
    assert row["appList"][0]["metric"]["callTotal"] == 3
    period["start_time"] = "2098-12-31T00:00:00Z"
    run = run_task(service.QianfanDescribeServiceStatsOperator, **period, interval="3600")
    assert len(run.value["services"][0]["appList"][0]["metricList"]) == 25


# The whole step


@MODES
@pytest.mark.parametrize("has_key", [True, False], ids=["api key", "token"])
def test_version_is_deployed_as_a_new_service_and_asked(quick, run_task, reconnect, deferrable, has_key):
    if not has_key:
        reconnect(quick.emulator, api_key=None)
    version = quick.version()
    run = run_task(
        service.QianfanServiceOperator,
        **version,
        **RESOURCES,
        name="faq",
        smoke_test="{{ params.q }}",
        deferrable=deferrable,
        params={"q": "ping"},
        **POLL,
    )
    (created,) = quick.emulator.services
    assert run.value == {
        "service_id": created["serviceId"],
        **version,
        "previous_model_id": None,
        "url": created["url"],
        "endpoint": created["endpoint"],
        "status": "Serving",
        "answer": f"{version['model_id']} heard: ping",
        "console_url": run.xcom["_link_QianfanServiceLink"],
    }
    assert {name: run.xcom[name] for name in run.value} == run.value
    assert actions_of(quick.emulator).count("CreateBearerToken") == (not has_key)
    assert quick.emulator.api_key not in json.dumps(run.xcoms)


@MODES
def test_version_is_put_behind_an_existing_service_and_asked(quick, run_task, deferrable):
    service_id, version = quick.serving(), quick.version("second")
    before = quick.show(service_id).model_id
    run = run_task(
        service.QianfanServiceOperator,
        service_id="{{ params.service }}",
        **version,
        smoke_test='[{"role": "user", "content": "ping"}]',
        roll_back=True,
        deferrable=deferrable,
        params={"service": service_id},
        **POLL,
    )
    assert run.value["answer"] == f"{version['model_id']} heard: ping"
    assert (run.value["previous_model_id"], run.xcom["previous_model_id"]) == (before, before)
    assert len(quick.emulator.services) == 1


@MODES
def test_smoke_test_that_fails_takes_the_service_back(quick, run_task, monkeypatch, deferrable):
    monkeypatch.setattr(smoke, "PAUSES", (0.01, 0.01))
    service_id, version = quick.serving(), quick.version("second")
    before = quick.show(service_id).model_id
    quick.emulator.fail_next("ChatCompletion", kind="server_error", count=None)
    run = run_task(
        service.QianfanServiceOperator,
        service_id=service_id,
        **version,
        smoke_test="ping",
        roll_back=True,
        deferrable=deferrable,
        **POLL,
        **RETRIES,
    )
    assert isinstance(run.error, QianfanUpdateError)
    assert f"serves {before} again" in str(run.error)
    assert run.tries == {"it": 1}
    assert quick.show(service_id).model_id == before
    assert quick.show(service_id).status == "Serving"


@MODES
def test_crashing_worker_is_followed_by_an_attempt_that_knows_the_version_before(
    quick, run_task, monkeypatch, deferrable
):
    service_id, version = quick.serving(), quick.version("second")
    before = quick.show(service_id).model_id
    crashed = []
    real = QianfanHook.chat

    def crash_once(hook, *arguments):
        if not crashed:
            crashed.append(True)
            raise ConnectionResetError("the worker is gone")
        return real(hook, *arguments)

    monkeypatch.setattr(QianfanHook, "chat", crash_once)
    run = run_task(
        service.QianfanServiceOperator,
        service_id=service_id,
        **version,
        smoke_test="ping",
        deferrable=deferrable,
        **POLL,
        **RETRIES,
    )
    # Before Airflow 3.3 the first attempt takes with it what was served before.
    assert run.value["previous_model_id"] == (before if REMEMBERS else None)
    assert actions_of(quick.emulator).count("ModifyService") == 1
    assert run.tries == {"it": 2}


@MODES
def test_lost_answers_create_one_service_and_update_it_once(quick, run_task, deferrable):
    quick.emulator.fail_next("CreateService", kind="lost_answer")
    quick.emulator.fail_next("ModifyService", kind="lost_answer")
    more = {"deferrable": deferrable, "smoke_test": "ping", **POLL}
    created = run_task(service.QianfanServiceOperator, **quick.version(), **RESOURCES, **more)
    version = quick.version("second")
    updated = run_task(
        service.QianfanServiceOperator, service_id=created.value["service_id"], **version, **more
    )
    assert len(quick.emulator.services) == 1
    assert updated.value["previous_model_id"] == created.value["model_id"]
    actions = actions_of(quick.emulator)
    assert (actions.count("CreateService"), actions.count("ModifyService")) == (1, 1)


@MODES
def test_execution_timeout_takes_a_new_service_off_line(account, run_task, deferrable):
    run = run_task(
        service.QianfanServiceOperator,
        **account.version(),
        **RESOURCES,
        deferrable=deferrable,
        execution_timeout=timedelta(seconds=3),
        **POLL,
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    assert account.emulator.services[0]["runStatus"] == "Stopped"


@MODES
def test_execution_timeout_never_stops_a_service_that_existed(account, run_task, deferrable):
    service_id, version = account.serving(), account.version("second")
    run = run_task(
        service.QianfanServiceOperator,
        service_id=service_id,
        **version,
        deferrable=deferrable,
        execution_timeout=timedelta(seconds=3),
        **POLL,
    )
    assert isinstance(run.error, QianfanExecutionTimeoutError)
    assert "may go on" in str(run.error)
    assert account.show(service_id).run_status == "Serving"
    assert "DeactivateService" not in actions_of(account.emulator)


def test_trigger_of_an_update_holds_no_secret_and_stops_nothing(account, defer_task):
    service_id, version = account.serving(), account.version("second")
    deferral = defer_task(
        service.QianfanServiceOperator, service_id=service_id, **version, deferrable=True, smoke_test="ping"
    )
    text = json.dumps(deferral.arguments, default=str)
    for secret in (account.emulator.api_key, account.emulator.secret_key):
        assert secret not in text
    assert deferral.make_trigger().cancel_on_kill is False
    assert deferral.xcom["service_id"] == service_id
    created = defer_task(
        service.QianfanServiceOperator, **account.version("third"), **RESOURCES, deferrable=True
    )
    assert created.make_trigger().cancel_on_kill is True
