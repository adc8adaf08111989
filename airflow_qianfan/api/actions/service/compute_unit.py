"""Compute units (算力单元): resources that are bought, and on which services can be deployed."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    JsonObject,
    Member,
    MemberError,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)
from airflow_qianfan.api.objects import Recognition, RemoteObject, States

ROUTE = "/v2/computeunit"


class ComputeUnit(RemoteObject):
    """A compute unit as the service describes it."""

    noun: ClassVar[str] = "compute unit"
    id_name: ClassVar[str] = "compute_unit_id"
    id_member: ClassVar[str] = "instance_id"
    record_key: ClassVar[str] = "qianfan_compute_unit"
    recognised_by: ClassVar[Recognition] = "nothing"
    goes_on: ClassVar[bool] = True
    state_member: ClassVar[str] = "status_text"
    states: ClassVar[States | None] = States(
        active=("Creating", "Releasing", "Reconfiguring", "BillingChanging"),
        succeeded=("Running",),
        failed=("CreateFailed", "ReconfigureFailed"),
        stopped=("Released",),
    )

    instance_id: str
    status_text: str | None = Field(default=None, alias="status")
    region: str | None = None
    type: str | None = None
    service_usage_list: RowList[Any] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _one_object(cls, data: Any) -> Any:
        """The unit stands in a member of its own, beside the services that use it."""
        unit = data.get("computeUnitInstance") if isinstance(data, dict) else None
        if not isinstance(unit, dict):
            return data
        return {"serviceUsageList": data.get("serviceUsageList"), **unit}

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "compute_unit_id": self.instance_id,
            "status": self.status,
            "status_text": self.status_text,
            "region": self.region,
            "type": self.type,
            "services": self.service_usage_list,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeComputeUnit:
        """Return the request that reads one."""
        return DescribeComputeUnit(instance_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> ReleaseComputeUnit:
        """Return the request that gives one back."""
        return ReleaseComputeUnit(instance_id=object_id)


class ComputeUnitConfig(Member):
    """What is bought.

    :param region: ``bj`` or ``bd``.
    :param type: ``cpu``, or ``gpu-1`` to ``gpu-6``.
    """

    region: RequiredText
    type: RequiredText


class PurchaseComputeUnitResult(Result):
    """The new compute unit."""

    instance_id: RequiredText


class PurchaseComputeUnit(Request, Action[PurchaseComputeUnitResult]):
    """Buy compute units. https://cloud.baidu.com/doc/qianfan-api/s/Hmo6wqf7i

    :param compute_unit_count: how many.
    :param compute_unit_config: ``region`` and ``type``.
    :param billing: ``paymentTiming``, ``reservation``, ``releaseTime``; passed through.
    """

    route: ClassVar[str] = ROUTE

    compute_unit_count: int = Field(ge=1)
    compute_unit_config: Annotated[ComputeUnitConfig, BeforeValidator(read_json)]
    billing: JsonObject

    @model_validator(mode="after")
    def _says_when_it_is_paid(self) -> Self:
        timing = self.billing.get("paymentTiming")
        if timing not in ("Prepaid", "Postpaid"):
            raise MemberError("needs paymentTiming, which is Prepaid or Postpaid", "billing")
        return self


class DescribeComputeUnit(Request, Action[ComputeUnit]):
    """Describe a compute unit. https://cloud.baidu.com/doc/WENXINWORKSHOP/s/Gm4ta1xx9

    :param instance_id: the unit, ``unit-…``.
    """

    route: ClassVar[str] = ROUTE

    instance_id: RequiredText


class ReleaseComputeUnit(Request, Action[bool]):
    """Give a compute unit back. https://cloud.baidu.com/doc/qianfan-api/s/wmo6wtedv

    :param instance_id: the unit, ``unit-…``.
    """

    route: ClassVar[str] = ROUTE

    instance_id: RequiredText


class AutoReleaseComputeUnit(Request, Action[bool]):
    """Give a compute unit back later. https://cloud.baidu.com/doc/qianfan-api/s/zmo6w9m4j

    :param instance_id: the unit, ``unit-…``.
    :param release_time: when, as in RFC 3339 or ``YYYY-MM-DD hh:mm:ss``; None takes an earlier wish back.
    """

    route: ClassVar[str] = ROUTE

    instance_id: RequiredText
    release_time: str | None = None
