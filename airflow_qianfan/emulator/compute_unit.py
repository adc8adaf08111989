"""The Actions of ``/v2/computeunit``, and what they keep."""

from __future__ import annotations

import secrets
import string
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from airflow_qianfan.emulator.actions import Body, Call, Route, Text, parse
from airflow_qianfan.emulator.deployment import Service
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.records import Record, china_time

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

ROUTE = Route("/v2/computeunit")

_BEIJING = timezone(timedelta(hours=8))

#: The types of the page of CreateService, and the spelling of older samples and of Describe.
TYPES_OF_RESOURCES = frozenset(
    ["CPU-1-1", "CPU-I-1", "CPU-I-2"]
    + [f"GPU-{kind}-{size}" for kind in ("1", "I") for size in (1, 2, 4, 8)]
    + [f"GPU-{kind}-{size}" for kind in (5, 6, 7) for size in (1, 2)]
)


@dataclass(kw_only=True)
class ComputeUnit(Record):
    """A compute unit. ``seconds`` is the time until it runs.

    :param released: when it is given back; None for never.
    """

    kind = "compute_unit"
    heading = "Compute units"
    columns = ("instanceId", "region", "type", "computeUnitCount", "status")

    region: str
    type: str
    count: int
    seconds: float
    release_seconds: float
    payment_timing: str
    released: float | None = None

    def status(self, now: float) -> str:
        """Return the ``status`` at a time."""
        if self.released is not None and now >= self.released:
            return "Releasing" if now < self.released + self.release_seconds else "Released"
        return "Creating" if now < self.created + self.seconds else "Running"

    def show(self, view: View) -> dict[str, Any]:
        return {
            "instanceId": self.id,
            "region": self.region,
            "type": self.type,
            "status": self.status(view.now),
            "computeUnitCount": self.count,
            "paymentTiming": self.payment_timing,
            "createTime": china_time(self.created),
        }


class Reservation(Body):
    # Hour is not in the documents, but the official SDK sends it.
    reservation_time_unit: Literal["Month", "Hour"]
    reservation_length: int = Field(ge=1, le=12)


class Billing(Body):
    payment_timing: Literal["Prepaid", "Postpaid"]
    reservation: Reservation | None = None
    release_time: str | None = None


class UnitConfig(Body):
    region: Literal["bj", "bd"]
    type: Literal["cpu", "gpu-1", "gpu-2", "gpu-3", "gpu-4", "gpu-5", "gpu-6"]


class Purchase(Body):
    compute_unit_count: int = Field(ge=1)
    billing: Billing
    compute_unit_config: UnitConfig


class InstanceId(Body):
    instance_id: Text


class AutoRelease(InstanceId):
    release_time: str | None = None


@ROUTE.action("PurchaseComputeUnit")
def purchase(call: Call) -> Any:
    request = parse(Purchase, call.body)
    billing = request.billing
    if billing.payment_timing == "Prepaid" and billing.reservation is None:
        raise bad_parameter("reservation")
    alphabet = string.ascii_letters + string.digits
    unit = ComputeUnit(
        id="unit-" + "".join(secrets.choice(alphabet) for _ in range(8)),
        region=request.compute_unit_config.region,
        type=request.compute_unit_config.type,
        count=request.compute_unit_count,
        seconds=call.model_seconds,
        release_seconds=call.assumptions.stop_delay_seconds,
        payment_timing=billing.payment_timing,
        released=None if billing.release_time is None else _moment(billing.release_time),
        created=call.now,
        request=call.body,
    )
    call.put(unit)
    call.ids["instanceId"] = unit.id
    return {"instanceId": unit.id}


@ROUTE.action("DescribeComputeUnit", shows_state=True)
def describe(call: Call) -> Any:
    unit = call.find(ComputeUnit, "instanceId", parse(InstanceId, call.body).instance_id)
    users = [
        {
            "serviceId": service.id,
            "serviceName": service.name,
            "deploymentReplicasCount": service.units[unit.id],
        }
        for service in call.all(Service)
        if unit.id in service.units and service.status(call.now) != "Stopped"
    ]
    return {"computeUnitInstance": unit.show(call), "serviceUsageList": users}


@ROUTE.action("ReleaseComputeUnit")
def release(call: Call) -> Any:
    unit = call.find(ComputeUnit, "instanceId", parse(InstanceId, call.body).instance_id)
    if unit.status(call.now) in ("Releasing", "Released"):
        return False
    unit.released = call.now
    call.put(unit)
    return True


@ROUTE.action("AutoReleaseComputeUnit")
def release_later(call: Call) -> Any:
    request = parse(AutoRelease, call.body)
    unit = call.find(ComputeUnit, "instanceId", request.instance_id)
    if unit.status(call.now) in ("Releasing", "Released"):
        raise call.wrong_state("The compute unit is released already.")
    unit.released = None if request.release_time is None else _moment(request.release_time)
    call.put(unit)
    return True


def _moment(text: str) -> float:
    """Return a time of release; one without a zone is Beijing's."""
    try:
        moment = datetime.fromisoformat(text)
        zone = moment.tzinfo or _BEIJING
        return moment.replace(tzinfo=zone).astimezone(UTC).timestamp()
    except (ValueError, OverflowError):
        raise bad_parameter("releaseTime") from None
