"""Services: what can be ordered, how their states go on, and how they change."""

import re

import pytest
from deploying import (
    PREPAID,
    RESOURCE,
    TOKENS,
    deploy,
    order,
    serve,
    show,
    unit,
    version,
)

from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.deployment import Service


def test_new_service_waits_is_deployed_and_serves(local):
    answer = local.ok("CreateService", **order(local, description="nightly"))
    assert re.fullmatch(r"svco-[a-z0-9]{12}", answer["serviceId"])
    assert re.fullmatch(r"[0-9a-f]{32}", answer["instanceId"])
    service_id = answer["serviceId"]
    seen = []
    for seconds in (0, 0.9, 0.2, 8.8, 0.2):
        local.clock.time += seconds
        seen.append(show(local, service_id)["runStatus"])
    assert seen == ["New", "New", "Deploying", "Deploying", "Serving"]
    shown = show(local, service_id)
    assert shown["serviceId"] == service_id
    assert (shown["name"], shown["description"]) == ("faq", "nightly")
    assert shown["modelSetId"].startswith("am-")
    assert shown["modelId"].startswith("amv-")
    assert re.fullmatch(r"[a-z0-9]{8}_faq_1", shown["endpoint"])
    assert shown["updateStatus"] == "None"
    assert shown["resourceConfig"] == RESOURCE
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", shown["createTime"])


def test_url_is_that_of_the_protocol(local):
    old, new = deploy(local, protocolVersion=1), deploy(local)
    shown = show(local, old)
    assert shown["url"].endswith(f"/{shown['endpoint']}")
    assert show(local, new)["url"] == "https://qianfan.baidubce.com/v2/chat/completions"


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("modelSetId", None),
        ("modelId", ""),
        ("name", "x"),
        ("name", "x" * 21),
        ("description", "x" * 501),
        ("urlSuffix", "x"),
        ("urlSuffix", "x" * 21),
        ("urlSuffix", "Faq"),
        ("urlSuffix", "_faq"),
        ("urlSuffix", "faq-"),
        ("urlSuffix", "a faq"),
        ("protocolVersion", 3),
        ("protocolVersion", "2"),
    ],
)
def test_bad_member_is_refused_by_name(local, member, value):
    assert local.bad_member("CreateService", **order(local, **{member: value})) == member
    assert local.store.table(Service) == {}


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"billing": None, "resourceConfig": None}, "billing"),
        ({"billing": None}, "billing"),
        ({"billing": None, "deploymentConfig": {"deploymentComputeUnitList": []}}, "billing"),
        ({"resourceConfig": None}, "resourceConfig"),
        ({"resourceConfig": None, "billing": {"paymentTiming": "Postpaid"}}, "resourceConfig"),
        ({"resourceConfig": {}}, "type"),
        ({"resourceConfig": {"type": "TPU-1-1"}}, "type"),
        ({"resourceConfig": {**RESOURCE, "region": "gz"}}, "region"),
        ({"resourceConfig": {**RESOURCE, "qps": 0}}, "qps"),
        ({"resourceConfig": {**RESOURCE, "qps": 50.1}}, "qps"),
        ({"resourceConfig": {**RESOURCE, "qps": 1.234}}, "qps"),
        ({"resourceConfig": {**RESOURCE, "replicasCount": 0}}, "replicasCount"),
        ({"billing": {"paymentTiming": "Postpay"}}, "paymentTiming"),
        ({"billing": {"paymentTiming": "Postpaid", "chargeType": "Calls"}}, "chargeType"),
        ({"billing": {"paymentTiming": "Prepaid"}}, "reservation"),
        (
            {"billing": {**PREPAID, "reservation": {"reservationTimeUnit": "Year", "reservationLength": 1}}},
            "reservationTimeUnit",
        ),
        (
            {
                "billing": {
                    **PREPAID,
                    "reservation": {"reservationTimeUnit": "Month", "reservationLength": 13},
                }
            },
            "reservationLength",
        ),
    ],
)
def test_order_that_lacks_something_is_refused(local, more, member):
    assert local.bad_member("CreateService", **order(local, **more)) == member


@pytest.mark.parametrize(
    ("more", "charge", "pay"),
    [
        ({"billing": {"paymentTiming": "Postpaid"}}, "ComputingUnit", "Postpay"),
        ({"billing": TOKENS, "resourceConfig": None}, "Tokens", "Postpay"),
        ({"billing": PREPAID}, "ComputingUnit", "Prepay"),
        (
            {"billing": {**PREPAID, "reservation": {"reservationTimeUnit": "Hour", "reservationLength": 1}}},
            "ComputingUnit",
            "Prepay",
        ),
    ],
)
def test_describe_spells_prepaid_and_postpaid_in_its_own_way(local, more, charge, pay):
    shown = show(local, deploy(local, **more))
    assert (shown["chargeType"], shown["payType"]) == (charge, pay)


@pytest.mark.parametrize(("spelling", "shown"), [("as sent", "GPU-1-2"), ("Describe", "GPU-I-2")])
def test_type_is_shown_in_either_spelling_and_both_are_accepted(make_local, spelling, shown):
    local = make_local(Assumptions(resource_type_spelling=spelling))
    for sent in ("GPU-1-2", "GPU-I-2"):
        service_id = deploy(local, resourceConfig={"type": sent})
        expected = sent if spelling == "as sent" else shown
        assert show(local, service_id)["resourceConfig"]["type"] == expected


def test_only_a_version_that_is_ready_and_of_that_set_is_deployed(local):
    body = order(local)
    other = version(local, "other")
    assert local.bad_member("CreateService", **{**body, "modelId": other["modelId"]}) == "modelId"
    assert local.refused("CreateService", **{**body, "modelId": "amv-1"}) == (404, "NoSuchKey")
    assert local.refused("CreateService", **{**body, "modelSetId": "am-1"}) == (404, "NoSuchKey")
    fresh = version(local)
    local.clock.time -= 5
    assert local.refused("CreateService", **{**body, **fresh}) == (400, "InvalidStatus")


def test_service_with_fail_in_its_name_fails(local):
    service_id = serve(local, name="will-fail")
    assert show(local, service_id)["runStatus"] == "Failed"


def test_two_services_may_have_the_same_name_and_suffix(local):
    first, second = deploy(local), deploy(local)
    assert show(local, first)["endpoint"] != show(local, second)["endpoint"]


# Lists


def names(local, **filters):
    return [row["name"] for row in local.ok("DescribeServices", **filters)["serviceList"]]


def test_list_shows_the_services_of_one_protocol(local, make_local):
    deploy(local, name="old", protocolVersion=1)
    deploy(local, name="new")
    deploy(local, name="unsaid", protocolVersion=None)
    assert names(local, protocolVersion=2) == ["new"]
    assert names(local, protocolVersion=1) == names(local) == ["old", "unsaid"]
    other = make_local(Assumptions(default_protocol=None))
    deploy(other, name="old", protocolVersion=1)
    deploy(other, name="new")
    assert names(other) == ["old", "new"]


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({}, ["faq", "Faq-2", "tokens"]),
        ({"name": "FAQ"}, ["faq", "Faq-2"]),
        ({"serviceType": ["chat", "completions"]}, ["faq", "Faq-2", "tokens"]),
        ({"serviceType": ["embeddings"]}, []),
        ({"runStatus": ["Serving"]}, ["faq"]),
        ({"runStatus": []}, ["faq", "Faq-2", "tokens"]),
        ({"creator": ["nobody"]}, []),
        ({"creator": ["emulator"]}, ["faq", "Faq-2", "tokens"]),
        ({"chargeType": "Tokens"}, ["tokens"]),
        ({"payType": "Prepay"}, ["Faq-2"]),
        ({"pageReverse": True, "maxKeys": 2}, ["tokens", "Faq-2"]),
    ],
    ids=str,
)
def test_list_is_filtered_and_paged(local, filters, expected):
    serve(local)
    bodies = [order(local, name="Faq-2", billing=PREPAID), order(local, name="tokens", billing=TOKENS)]
    for body in bodies:
        local.ok("CreateService", **body)
    assert names(local, protocolVersion=2, **filters) == expected


def test_list_may_leave_out_descriptions(make_local):
    local = make_local(Assumptions(service_list_has_description=False))
    deploy(local, description="x")
    (row,) = local.ok("DescribeServices", protocolVersion=2)["serviceList"]
    assert "description" not in row


# Changes


@pytest.mark.parametrize("shows", ["at once", "when done"])
def test_modified_service_goes_on_serving_and_shows_the_new_version(make_local, shows):
    local = make_local(Assumptions(update_shows_new_version=shows))
    service_id = serve(local)
    old, new = show(local, service_id)["modelId"], version(local, "second")
    assert local.ok("ModifyService", serviceId=service_id, **new) is True
    during = show(local, service_id)
    assert (during["runStatus"], during["updateStatus"]) == ("Serving", "Updating")
    assert during["modelId"] == (new["modelId"] if shows == "at once" else old)
    assert local.refused("ModifyService", serviceId=service_id, **new) == (400, "InvalidStatus")
    local.clock.time += 10
    after = show(local, service_id)
    assert (after["runStatus"], after["updateStatus"]) == ("Serving", "None")
    assert (after["modelSetId"], after["modelId"]) == (new["modelSetId"], new["modelId"])


@pytest.mark.parametrize(("name", "description"), [("unfit-bot", ""), ("fine", "Unfit for this")])
def test_update_to_an_unfit_version_ends_with_the_version_before(local, name, description):
    service_id = serve(local)
    old = show(local, service_id)["modelId"]
    local.ok("ModifyService", serviceId=service_id, **version(local, name, description))
    local.clock.time += 10
    after = show(local, service_id)
    assert (after["modelId"], after["updateStatus"]) == (old, "None")


def test_only_a_service_that_serves_is_modified_and_only_to_what_exists(local):
    service_id = deploy(local)
    new = version(local, "second")
    local.clock.time -= 10
    assert local.refused("ModifyService", serviceId=service_id, **new) == (400, "InvalidStatus")
    local.clock.time += 20
    assert local.bad_member("ModifyService", serviceId=service_id) == "modelSetId"
    assert local.refused("ModifyService", serviceId="svco-1", **new) == (404, "NoSuchKey")
    local.ok("DeactivateService", serviceId=service_id)
    assert local.refused("ModifyService", serviceId=service_id, **new) == (400, "InvalidStatus")


def test_deactivate_answers_with_an_object_and_warns_of_what_stays_bought(local):
    service_id = serve(local)
    answer = local.ok("DeactivateService", serviceId=service_id)
    assert answer["operation"] is True
    assert "stay bought" in answer["message"]
    assert show(local, service_id)["runStatus"] == "Stopped"
    assert local.ok("DeactivateService", serviceId=service_id)["operation"] is False
    assert local.refused("DeactivateService", serviceId="svco-1") == (404, "NoSuchKey")


def test_service_goes_off_line_after_a_while(make_local):
    local = make_local(Assumptions(stop_delay_seconds=5))
    service_id = serve(local)
    local.ok("DeactivateService", serviceId=service_id)
    assert show(local, service_id)["runStatus"] == "Serving"
    local.clock.time += 5
    assert show(local, service_id)["runStatus"] == "Stopped"


def test_service_runs_on_bought_units_and_is_scaled(local):
    unit_id = unit(local, count=2)
    placed = {"deploymentComputeUnitList": [{"instanceId": unit_id, "deploymentReplicasCount": 1}]}
    nothing = {"resourceConfig": None, "billing": None}
    service_id = serve(local, **nothing, deploymentConfig=placed)
    assert show(local, service_id)["chargeType"] == "ComputingUnit"
    scale = {"serviceId": service_id, "instanceId": unit_id}
    assert local.ok("ScaleService", **scale, deploymentReplicasCount=2) is True
    assert local.refused("ScaleService", **scale, deploymentReplicasCount=3) == (400, "InvalidStatus")
    assert local.refused("CreateService", **order(local, **nothing, deploymentConfig=placed)) == (
        400,
        "InvalidStatus",
    )
    used = local.ok("DescribeComputeUnit", instanceId=unit_id)["serviceUsageList"]
    assert used == [{"serviceId": service_id, "serviceName": "faq", "deploymentReplicasCount": 2}]
    assert local.ok("ScaleService", **scale, deploymentReplicasCount=0) is True
    assert local.ok("DescribeComputeUnit", instanceId=unit_id)["serviceUsageList"] == []
    assert local.bad_member("ScaleService", **scale, deploymentReplicasCount=-1) == "deploymentReplicasCount"
    assert local.refused("ScaleService", **{**scale, "instanceId": "unit-1"}, deploymentReplicasCount=1) == (
        404,
        "NoSuchKey",
    )


def test_stopped_service_leaves_its_units_to_others(local):
    unit_id = unit(local, count=1)
    placed = {"deploymentComputeUnitList": [{"instanceId": unit_id, "deploymentReplicasCount": 1}]}
    more = {"resourceConfig": None, "billing": None, "deploymentConfig": placed}
    local.ok("DeactivateService", serviceId=serve(local, **more))
    assert serve(local, **more)


def test_log_store_is_attached_to_services_of_ones_own_and_of_baidu(local):
    body = {"serviceType": "Custom", "serviceId": serve(local), "logProject": "p", "logStoreName": "s"}
    assert local.ok("AttachLogStore", **body) is True
    preset = local.ok("DescribePresetServices")["serviceList"][0]["serviceId"]
    assert local.ok("AttachLogStore", **{**body, "serviceType": "Preset", "serviceId": preset}) is True
    assert local.refused("AttachLogStore", **{**body, "serviceType": "Preset"}) == (404, "NoSuchKey")
    assert local.bad_member("AttachLogStore", **{**body, "logProject": ""}) == "logProject"


def test_preset_services_are_filtered(local):
    rows = local.ok("DescribePresetServices")["serviceList"]
    assert all(row["serviceId"].startswith("svcp-") for row in rows)
    free = local.ok("DescribePresetServices", chargeType=["Free"])["serviceList"]
    assert [row["chargeType"] for row in free] == ["Free"]
    chosen = local.ok("DescribePresetServices", serviceIds=[rows[0]["serviceId"]])["serviceList"]
    assert chosen == rows[:1]
    assert local.bad_member("DescribePresetServices", chargeStatus=["Closed"]) == "chargeStatus"
