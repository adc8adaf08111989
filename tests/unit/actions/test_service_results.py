"""Services and compute units as the service may describe them."""

from __future__ import annotations

from typing import Any

import pytest
from wire import ok

from airflow_qianfan.api.actions.service import (
    AutoReleaseComputeUnit,
    ComputeUnit,
    CreateService,
    DeactivateService,
    DescribeComputeUnit,
    DescribePresetServices,
    DescribeService,
    DescribeServiceMetric,
    DescribeServices,
    ModifyService,
    PurchaseComputeUnit,
    ReleaseComputeUnit,
    Service,
)
from airflow_qianfan.api.objects import Phase
from airflow_qianfan.exceptions import QianfanOperationFailedError

READ = DescribeService(service_id="svco-1")
SHOWN = {
    "serviceId": "svco-1",
    "name": "faq",
    "modelSetId": "am-1",
    "modelId": "amv-1",
    "url": "https://qianfan.baidubce.com/v2/chat/completions",
    "endpoint": "kzpitmni_faq",
    "serviceType": "chat",
    "runStatus": "Serving",
    "updateStatus": "None",
    "chargeType": "ComputingUnit",
    "payType": "Postpay",
    "createTime": "2024-05-16T15:23:30Z",
    "somethingNew": {"x": 1},
}


def test_service_is_read():
    found = READ.read_result(SHOWN)
    assert found.output() == {
        "service_id": "svco-1",
        "name": "faq",
        "model_set_id": "am-1",
        "model_id": "amv-1",
        "url": "https://qianfan.baidubce.com/v2/chat/completions",
        "endpoint": "kzpitmni_faq",
        "service_type": "chat",
        "status": "Serving",
        "run_status": "Serving",
        "update_status": "None",
        "charge_type": "ComputingUnit",
        "pay_type": "Postpay",
        "create_time": "2024-05-16T15:23:30Z",
        "console_url": "https://console.bce.baidu.com/qianfan/ais/console/onlineService",
    }
    assert found.model_extra == {"somethingNew": {"x": 1}}
    assert READ.read_result({"serviceId": "svco-1"}).output()["status"] == "New"


@pytest.mark.parametrize(
    "ids",
    [
        {"modelSetId": "am-1", "modelId": "amv-1"},
        {"modelId": "am-1", "modelVersionId": "amv-1"},
        {"modelSetId": "amv-1", "modelId": "am-1"},
        {"modelId": "amv-1", "modelVersionId": "am-1"},
    ],
    ids=str,
)
def test_set_and_version_are_told_by_their_prefix_whatever_member_holds_them(ids):
    found = READ.read_result({"serviceId": "svco-1", **ids})
    assert (found.model_set_id, found.model_id) == ("am-1", "amv-1")


def test_ids_of_another_form_stay_where_they_are():
    found = READ.read_result({"serviceId": "svco-1", "modelSetId": "7", "modelId": "8"})
    assert (found.model_set_id, found.model_id) == ("7", "8")


@pytest.mark.parametrize(
    ("word", "phase"),
    [
        ("None", Phase.SUCCEEDED),
        ("none", Phase.SUCCEEDED),
        ("", Phase.SUCCEEDED),
        (None, Phase.SUCCEEDED),
        ("Done", Phase.SUCCEEDED),
        ("Failed", Phase.SUCCEEDED),
        ("Updating", Phase.ACTIVE),
        ("Rolling", Phase.ACTIVE),
        (7, Phase.ACTIVE),
    ],
)
def test_service_that_is_being_updated_is_waited_for(word, phase):
    found = READ.read_result({**SHOWN, "updateStatus": word})
    assert found.state.phase is phase
    assert found.status == ("Serving" if phase is Phase.SUCCEEDED else "Updating")
    assert found.run_status == "Serving"
    failed = READ.read_result({**SHOWN, "runStatus": "Failed", "updateStatus": word})
    assert failed.state.phase is Phase.FAILED


@pytest.mark.parametrize(
    ("endpoint", "url", "address"),
    [
        ("kzpitmni_faq", None, "kzpitmni_faq"),
        ("kzpitmni_faq", "https://x/other", "kzpitmni_faq"),
        (None, "https://aip.baidubce.com/rpc/2.0/wenxinworkshop/chat/kzpitmni_faq", "kzpitmni_faq"),
        ("", "https://x/chat/kzpitmni_faq/?access_token=1", "kzpitmni_faq"),
        ("https://x/chat/kzpitmni_faq", None, "kzpitmni_faq"),
        (None, "https://qianfan.baidubce.com/v2/chat/completions", None),
        (None, None, None),
        ("", "", None),
    ],
)
def test_address_of_a_service_is_its_endpoint_else_the_end_of_its_url(endpoint, url, address):
    assert READ.read_result({"serviceId": "svco-1", "endpoint": endpoint, "url": url}).address == address


def test_what_serves_has_not_ended():
    states = {
        word: READ.read_result({**SHOWN, "runStatus": word}) for word in ("Serving", "Stopped", "Failed")
    }
    assert {word: found.has_ended for word, found in states.items()} == {
        "Serving": False,
        "Stopped": True,
        "Failed": True,
    }
    assert all(found.state.is_final for found in states.values())


def test_lists_may_hold_nothing_but_ids():
    page = DescribeServices().read_result({"serviceList": [{"serviceId": "svco-1"}], "pageInfo": None})
    assert [row.service_id for row in page.rows] == ["svco-1"]
    for result in ({}, {"serviceList": None}):
        assert DescribeServices().read_result(result).rows == []


@pytest.mark.parametrize("result", [True, None, {}, {"operation": True, "message": "stays bought"}, {"x": 1}])
def test_deactivate_takes_an_object_a_flag_or_nothing(result, connect, wire):
    wire.script(ok(result))
    assert connect().call(DeactivateService(service_id="svco-1")).operation in (True, None)


@pytest.mark.parametrize("result", [False, {"operation": False, "message": "It is off line already."}])
def test_operation_false_is_a_refusal_with_the_message_of_the_service(result, connect, wire):
    wire.script(ok(result))
    with pytest.raises(QianfanOperationFailedError) as caught:
        connect().call(DeactivateService(service_id="svco-1"))
    assert ("off line already" in str(caught.value)) is isinstance(result, dict)
    assert len(wire.requests) == 1


def test_created_ids_are_read():
    service: dict[str, Any] = {"model_set_id": "am-1", "model_id": "amv-1", "name": "xy", "url_suffix": "xy"}
    billing = {"paymentTiming": "Postpaid", "chargeType": "Tokens"}
    made = CreateService(**service, billing=billing).read_result({"serviceId": "svco-1", "instanceId": "ab"})
    assert (made.service_id, made.instance_id) == ("svco-1", "ab")
    bought = PurchaseComputeUnit(
        compute_unit_count=1,
        compute_unit_config={"region": "bj", "type": "cpu"},
        billing={"paymentTiming": "Postpaid"},
    ).read_result({"instanceId": "unit-1"})
    assert bought.instance_id == "unit-1"


@pytest.mark.parametrize(
    "request_",
    [
        ModifyService(service_id="svco-1", model_set_id="am-1", model_id="amv-1"),
        ReleaseComputeUnit(instance_id="unit-1"),
        AutoReleaseComputeUnit(instance_id="unit-1"),
    ],
    ids=lambda request: request.action,
)
def test_changes_answer_with_a_flag(request_, connect, wire):
    wire.script(ok(True))
    assert connect().call(request_) is True


def test_compute_unit_stands_in_a_member_of_its_own():
    read = DescribeComputeUnit(instance_id="unit-1").read_result
    unit = {"instanceId": "unit-1", "status": "running", "region": "bj", "type": "gpu-1", "new": 1}
    users = [{"serviceId": "svco-1"}]
    found = read({"computeUnitInstance": unit, "serviceUsageList": users})
    assert found.output() == {
        "compute_unit_id": "unit-1",
        "status": "Running",
        "status_text": "running",
        "region": "bj",
        "type": "gpu-1",
        "services": users,
    }
    assert read(unit).output()["services"] == []
    assert (found.state.is_final, found.has_ended) == (True, False)


def test_usage_and_preset_services_are_read():
    usage = DescribeServiceMetric(start_time="2026-01-31T08:00:00Z", end_time="2026-01-31T09:00:00Z")
    assert usage.read_result({}).output() == {"start_time": None, "end_time": None, "services": []}
    rows = [{"serviceId": "svco-1", "appList": []}]
    assert usage.read_result({"startTime": "x", "serviceList": rows}).output()["services"] == rows
    preset = {"serviceId": "svcp-1", "name": "ERNIE", "chargeType": "Free"}
    for result in ({"serviceList": [preset]}, [preset]):
        (row,) = DescribePresetServices().read_result(result).output()["services"]
        assert row.items() >= {"service_id": "svcp-1", "name": "ERNIE", "charge_type": "Free"}.items()


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        ({}, True),
        ({"name": "xy"}, True),
        ({"name": "xy", "endpoint": "01234567_xy"}, True),
        ({"name": "x"}, False),
        ({"name": "xy", "endpoint": "01234567_x"}, False),
        ({"url": "https://x/01234567_other"}, False),
        ({"url": "https://qianfan.baidubce.com/v2/chat/completions"}, True),
        ({"endpoint": "an-address-of-another-form"}, True),
    ],
    ids=str,
)
def test_service_may_come_from_a_create_only_with_its_name_and_address(shown, expected):
    create = CreateService(
        model_set_id="am-1",
        model_id="amv-1",
        name="xy",
        url_suffix="xy",
        billing={"paymentTiming": "Postpaid", "chargeType": "Tokens"},
    )
    assert Service(service_id="svco-1", **shown).may_come_from(create) is expected
    assert ComputeUnit(instance_id="unit-1").may_come_from(create)
