"""The official ``qianfan`` SDK deploys on the emulator, and calls what it deployed."""

from datetime import UTC, datetime, timedelta

import pytest
from qianfan.errors import RequestError
from qianfan.resources import ChatCompletion, Model, Service
from qianfan.resources.console.iam import IAM
from qianfan.resources.console.utils import call_action

from airflow_qianfan.emulator import QianfanEmulator

DURATION = 10_000
"""Seconds that versions and services take by the emulator's clock, which only the tests move on."""

FILES = {
    "bucket": "test",
    "objectPath": "demoModel",
    "modelFormat": "HuggingFace.Transformers",
    "modelApplicationType": "chat",
}
# The spelling of the SDK's own examples.
RESOURCES = {"type": "GPU-I-2", "qps": 0.5}
BILLING = {
    "paymentTiming": "Prepaid",
    "reservation": {"reservationTimeUnit": "Hour", "reservationLength": 1},
}


@pytest.fixture
def emulator():
    with QianfanEmulator(task_seconds=DURATION, model_seconds=DURATION) as running:
        yield running


@pytest.fixture(autouse=True)
def sdk_settings(emulator, monkeypatch):
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", emulator.access_key)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("QIANFAN_CONSOLE_API_BASE_URL", emulator.endpoint)
    monkeypatch.setenv("QIANFAN_IAM_BASE_URL", emulator.endpoint)
    monkeypatch.setattr("qianfan.config._GLOBAL_CONFIG", None)


def version(emulator, name="bot"):
    set_id = Model.V2.create_custom_model_set(model_set_name=name, model_type="Text2Text")["result"]
    body = {"modelSetId": set_id, "sourceType": "Import", "importMeta": FILES}
    model_id = call_action("/v2/model", "CreateCustomModel", body)["result"]["modelId"]
    emulator.advance(DURATION)
    return {"model_set_id": set_id, "model_id": model_id}


def deploy(emulator, **more):
    answer = Service.V2.create_service(
        **version(emulator),
        name="faq",
        url_suffix="faq",
        resource_config=RESOURCES,
        billing=BILLING,
        **{"protocolVersion": 2, **more},
    )
    return answer["result"]["serviceId"]


def detail(service_id):
    return Service.V2.service_detail(service_id)["result"]


def test_life_cycle_of_a_service(emulator):
    service_id = deploy(emulator, description="conformance")
    assert detail(service_id)["runStatus"] == "New"
    emulator.advance(DURATION)
    shown = detail(service_id)
    assert (shown["runStatus"], shown["payType"]) == ("Serving", "Prepay")
    assert shown["resourceConfig"]["type"] == "GPU-I-2"
    assert Service.V2.service_list()["result"]["serviceList"] == []
    rows = Service.V2.service_list(max_keys=10, name="fa", run_status=["Serving"], protocolVersion=2)
    assert [row["serviceId"] for row in rows["result"]["serviceList"]] == [service_id]

    second = version(emulator, "second")
    assert Service.V2.modify_service(service_id, **second)["result"] is True
    assert detail(service_id)["updateStatus"] != "None"
    emulator.advance(DURATION)
    assert detail(service_id)["modelId"] == second["model_id"]
    off = call_action("/v2/service", "DeactivateService", {"serviceId": service_id})["result"]
    assert off["operation"] is True
    assert detail(service_id)["runStatus"] == "Stopped"


def test_deployed_service_is_called_with_a_token_that_the_sdk_makes(emulator):
    service_id = deploy(emulator)
    emulator.advance(DURATION)
    made = IAM.create_bearer_token(expire_in_seconds=100)
    assert made["token"]
    answer = ChatCompletion(version=2).do(
        model=detail(service_id)["endpoint"],
        messages=[{"role": "user", "content": "ping"}],
        retry_count=1,
    )
    assert answer["choices"][0]["message"]["content"].endswith("heard: ping")
    assert {entry["action"] for entry in emulator.journal} >= {"CreateBearerToken", "ChatCompletion"}


def test_metric_of_the_sdk_names_no_protocol_and_one_application_only(emulator):
    service_id = deploy(emulator, protocolVersion=1)
    emulator.advance(DURATION)
    now = datetime.now(UTC) + timedelta(days=1)
    period = {"start_time": now - timedelta(days=2), "end_time": now}
    metric = Service.V2.service_metric(**period, service_id=[service_id])["result"]
    assert metric["serviceList"] == []
    assert emulator.journal[-1]["ids"] == {"serviceId": [service_id]}
    # With an application it loses the service, and writes a text where the page has a list.
    with pytest.raises(RequestError, match=r"param\[appId\] invalid"):
        Service.V2.service_metric(**period, service_id=[service_id], app_id="app-1")


def test_preset_services_are_listed():
    rows = Service.V2.describe_preset_services(charge_type=["Free"])["result"]["serviceList"]
    assert [row["chargeType"] for row in rows] == ["Free"]


def test_default_names_of_the_sdk_are_too_long_for_the_service(emulator):
    """Its high-level deploy names services ``svc…_amv…``, with more than the 20 characters of the page."""
    with pytest.raises(RequestError, match=r"param\[name\] invalid"):
        Service.V2.create_service(
            **version(emulator),
            name="svc12345678_amv-0123456789ab",
            url_suffix="svc12345",
            resource_config=RESOURCES,
            billing=BILLING,
        )


def test_compute_units_by_the_generic_call(emulator):
    body = {
        "computeUnitCount": 1,
        "computeUnitConfig": {"region": "bj", "type": "gpu-1"},
        "billing": {"paymentTiming": "Postpaid"},
    }
    unit_id = call_action("/v2/computeunit", "PurchaseComputeUnit", body)["result"]["instanceId"]
    emulator.advance(DURATION)
    shown = call_action("/v2/computeunit", "DescribeComputeUnit", {"instanceId": unit_id})["result"]
    assert shown["computeUnitInstance"]["status"] == "Running"
