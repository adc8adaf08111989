"""Compute units: bought, run, given back."""

import re

import pytest
from deploying import POSTPAID, PREPAID, unit

from airflow_qianfan.emulator.assumptions import Assumptions

CONFIG = {"region": "bd", "type": "gpu-6"}
PURCHASE = {"computeUnitCount": 1, "computeUnitConfig": CONFIG, "billing": {"paymentTiming": "Postpaid"}}


def status(local, unit_id):
    return local.ok("DescribeComputeUnit", instanceId=unit_id)["computeUnitInstance"]["status"]


def test_unit_is_created_and_runs(local):
    unit_id = local.ok("PurchaseComputeUnit", **PURCHASE)["instanceId"]
    assert re.fullmatch(r"unit-[A-Za-z0-9]{8}", unit_id)
    assert status(local, unit_id) == "Creating"
    local.clock.time += 10
    shown = local.ok("DescribeComputeUnit", instanceId=unit_id)
    assert shown["serviceUsageList"] == []
    expected = {"instanceId": unit_id, "region": "bd", "type": "gpu-6", "status": "Running"}
    assert shown["computeUnitInstance"].items() >= expected.items()


@pytest.mark.parametrize(
    ("more", "member"),
    [
        ({"computeUnitCount": 0}, "computeUnitCount"),
        ({"computeUnitConfig": {**CONFIG, "region": "gz"}}, "region"),
        ({"computeUnitConfig": {**CONFIG, "type": "gpu-7"}}, "type"),
        ({"billing": {"paymentTiming": "Postpay"}}, "paymentTiming"),
        ({"billing": {"paymentTiming": "Prepaid"}}, "reservation"),
        ({"billing": {"paymentTiming": "Postpaid", "releaseTime": "soon"}}, "releaseTime"),
    ],
)
def test_bad_purchase_is_refused(local, more, member):
    assert local.bad_member("PurchaseComputeUnit", **{**PURCHASE, **more}) == member


def test_unit_is_given_back(make_local):
    local = make_local(Assumptions(stop_delay_seconds=5))
    unit_id = unit(local, billing=PREPAID)
    assert local.ok("ReleaseComputeUnit", instanceId=unit_id) is True
    assert status(local, unit_id) == "Releasing"
    assert local.ok("ReleaseComputeUnit", instanceId=unit_id) is False
    local.clock.time += 5
    assert status(local, unit_id) == "Released"
    assert local.refused("ReleaseComputeUnit", instanceId="unit-1") == (404, "NoSuchKey")


@pytest.mark.parametrize(
    "when", ["2024-01-16T10:00:00Z", "2024-01-16T18:00:00+08:00", "2024-01-16 18:00:00"], ids=str
)
def test_unit_is_given_back_later_unless_the_wish_is_taken_back(local, when):
    kept, released = unit(local), unit(local, billing={**POSTPAID, "releaseTime": when})
    for unit_id in (kept, released):
        assert local.ok("AutoReleaseComputeUnit", instanceId=unit_id, releaseTime=when) is True
    assert local.ok("AutoReleaseComputeUnit", instanceId=kept) is True
    assert (status(local, kept), status(local, released)) == ("Running", "Running")
    local.clock.time += 3600
    assert (status(local, kept), status(local, released)) == ("Running", "Released")
    assert local.refused("AutoReleaseComputeUnit", instanceId=released) == (400, "InvalidStatus")


@pytest.mark.parametrize("when", ["soon", "9999-99-99 00:00:00", ""])
def test_time_of_release_must_be_one(local, when):
    assert local.bad_member("AutoReleaseComputeUnit", instanceId=unit(local), releaseTime=when) == (
        "releaseTime"
    )
