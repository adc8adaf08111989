"""Services (服务): model versions that are deployed and answer calls."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import cached_property
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    JsonObject,
    MemberError,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)
from airflow_qianfan.api.actions.values import Date
from airflow_qianfan.api.config import CONSOLE
from airflow_qianfan.api.objects import Phase, Recognition, RemoteObject, State, States, timestamp

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

ROUTE = "/v2/service"
SERVICE_LIST_URL = f"{CONSOLE}/qianfan/ais/console/onlineService"

TextList = Annotated[list[str] | None, BeforeValidator(read_json)]

PROTOCOL = 2
"""The inference protocol that is asked for unless the user says otherwise. Where none is named the service
takes version 1, which is withdrawn."""

#: Words of ``updateStatus`` that cannot mean that an update goes on. Only ``None`` is documented.
_NO_UPDATE = frozenset(
    [
        "none",
        "done",
        "finish",
        "finished",
        "complete",
        "completed",
        "success",
        "succeeded",
        "successed",
        "updated",
        "fail",
        "failed",
    ]
)


_ADDRESS = re.compile(r"[a-z0-9]{8}_(.+)", re.ASCII)
"""An API address: 8 characters of the service's own, and the suffix that was asked for."""


class Service(RemoteObject):
    """A service as the service describes it.

    One that serves, and whose model version is just being replaced, is ``Updating``.
    """

    noun: ClassVar[str] = "service"
    id_name: ClassVar[str] = "service_id"
    results: ClassVar[tuple[str, ...]] = ("service_id",)
    id_member: ClassVar[str] = "service_id"
    record_key: ClassVar[str] = "qianfan_service"
    recognised_by: ClassVar[Recognition] = "mark"
    is_listed_by_id_only: ClassVar[bool] = True
    goes_on: ClassVar[bool] = True
    state_member: ClassVar[str] = "run_status"
    states: ClassVar[States | None] = States(
        waiting=("New",),
        active=("Deploying", "Updating"),
        succeeded=("Serving",),
        failed=("Failed",),
        stopped=("Stopped",),
        spellings={"done": "Serving"},
    )

    service_id: str
    name: str | None = None
    description: str | None = None
    model_set_id: str | None = None
    model_id: str | None = None
    base_model: str | None = None
    url: str | None = None
    endpoint: str | None = None
    service_type: str | None = None
    run_status: str | None = None
    update_status: Any = None
    charge_type: str | None = None
    pay_type: str | None = None
    charge_status: str | None = None
    resource_config: Any = None
    create_time: Date = None

    @model_validator(mode="before")
    @classmethod
    def _ids_by_their_prefix(cls, data: Any) -> Any:
        """Set and version come as modelSetId and modelId, or as modelId and modelVersionId."""
        if not isinstance(data, dict):
            return data
        members = (data.get(name) for name in ("modelSetId", "modelId", "modelVersionId"))
        ids = [found for found in members if isinstance(found, str)]
        told = {
            member: next((found for found in ids if found.startswith(prefix)), None)
            for member, prefix in (("modelSetId", "am-"), ("modelId", "amv-"))
        }
        return {**data, **{member: found for member, found in told.items() if found is not None}}

    @property
    def is_updating(self) -> bool:
        """Whether its model version is being replaced."""
        word = str(self.update_status or "none").strip().lower()
        return word not in _NO_UPDATE

    @cached_property
    def state(self) -> State:
        """The state that it is in."""
        found = super().state
        if found.phase is Phase.SUCCEEDED and self.is_updating:
            return State("Updating", Phase.ACTIVE)
        return found

    @property
    def started(self) -> float | None:
        """When it was created, in seconds since the epoch."""
        return timestamp(self.create_time)

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that lists the services of the account."""
        return SERVICE_LIST_URL

    @property
    def address(self) -> str | None:
        """What a chat call names as its model: the API address, else the last part of the URL."""
        for text in (self.endpoint, self.url):
            path = (text or "").split("?")[0].rstrip("/")
            # The second protocol has one URL for all services.
            if path and "/v2/" not in path:
                return path.rpartition("/")[2]
        return None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "service_id": self.service_id,
            "name": self.name,
            "model_set_id": self.model_set_id,
            "model_id": self.model_id,
            "url": self.url,
            "endpoint": self.endpoint,
            "service_type": self.service_type,
            "status": self.status,
            "run_status": self.run_status,
            "update_status": None if self.update_status is None else str(self.update_status),
            "charge_type": self.charge_type,
            "pay_type": self.pay_type,
            "create_time": self.create_time,
            "console_url": self.console_url,
        }

    def may_come_from(self, request: Any) -> bool:
        """Return whether a Create may have made it: neither its name nor its address tells otherwise."""
        form = _ADDRESS.fullmatch(self.address or "")
        return self.name in (None, request.name) and (form is None or form[1] == request.url_suffix)

    @classmethod
    def describe(cls, object_id: str) -> DescribeService:
        """Return the request that reads one."""
        return DescribeService(service_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> DeactivateService:
        """Return the request that stops one."""
        return DeactivateService(service_id=object_id)

    @classmethod
    def candidates_for(
        cls, client: QianfanClient, request: Any, *, name: str, parent_id: str
    ) -> Iterable[Self]:
        """Return the services of the protocol that was asked for: a list shows no others."""
        return client.iterate(DescribeServices(max_keys=100, protocol_version=request.protocol_version))


class CreateServiceResult(Result):
    """The new service, and the resource instance that was bought for it."""

    service_id: RequiredText
    instance_id: str | None = None


class CreateService(Request, Action[CreateServiceResult]):
    """Put a model version on line. https://cloud.baidu.com/doc/qianfan-api/s/kmm2wd9z1

    It runs on units that were bought before (``deploymentConfig``), or buys resources (``resourceConfig`` and
    ``billing``).

    :param model_set_id: the model set, ``am-…``.
    :param model_id: its version, ``amv-…``.
    :param name: 2 to 20 characters.
    :param url_suffix: end of the address, 2 to 20 of ``a-z0-9_-``; the first and last a letter or digit.
    :param description: at most 500 characters.
    :param deployment_config: ``deploymentComputeUnitList``, ``replicasCount``, ``qps`` …; passed through.
    :param resource_config: ``region``, ``type``, ``qps``, ``replicasCount``; passed through.
    :param billing: ``paymentTiming``, ``chargeType``, ``reservation``; passed through.
    :param protocol_version: the inference protocol, 1 or 2; None leaves it to the service, which takes 1.
    """

    route: ClassVar[str] = ROUTE

    model_set_id: RequiredText
    model_id: RequiredText
    name: str = Field(min_length=2, max_length=20)
    url_suffix: str = Field(min_length=2, max_length=20)
    description: str | None = Field(default=None, max_length=500)
    deployment_config: JsonObject | None = None
    resource_config: JsonObject | None = None
    billing: JsonObject | None = None
    protocol_version: int | None = PROTOCOL

    @model_validator(mode="after")
    def _is_an_address(self) -> Self:
        ends = self.url_suffix[0] + self.url_suffix[-1]
        allowed = "abcdefghijklmnopqrstuvwxyz0123456789"
        if not (set(self.url_suffix) <= {*allowed, "_", "-"} and set(ends) <= {*allowed}):
            raise MemberError(
                "must be a-z, 0-9, _ and - only, and begin and end with a letter or digit", "urlSuffix"
            )
        return self

    @model_validator(mode="after")
    def _has_resources(self) -> Self:
        if (self.deployment_config or {}).get("deploymentComputeUnitList"):
            return self
        if not self.billing:
            raise MemberError(
                "give deploymentConfig with a deploymentComputeUnitList, or resourceConfig and billing",
                "billing",
                "deploymentConfig",
            )
        if not self.resource_config and self.billing.get("chargeType") != "Tokens":
            raise MemberError(
                "is missing; only a service that is charged by Tokens needs none", "resourceConfig"
            )
        return self


class DescribeService(Request, Action[Service]):
    """Describe a service. https://cloud.baidu.com/doc/qianfan-api/s/zmm1xw37v

    :param service_id: the service, ``svco-…``.
    :param protocol_version: the inference protocol, 1 or 2.
    """

    route: ClassVar[str] = ROUTE

    service_id: RequiredText
    protocol_version: int | None = None


class ServicePage(Page):
    """One page of services."""

    id_member: ClassVar[str] = "service_id"
    service_list: RowList[Service] = Field(default_factory=list)

    @property
    def rows(self) -> list[Service]:
        """The services of this page."""
        return self.service_list


class DescribeServices(PagedRequest, Action[ServicePage]):
    """List services. https://cloud.baidu.com/doc/qianfan-api/s/rmm1us8cr

    :param name: only services whose name holds this.
    :param service_type: only of these types: ``chat``, ``completions``, ``text2image``, ``image2text``.
    :param run_status: only in these states.
    :param creator: only of these creators.
    :param charge_type: ``ComputingUnit`` or ``Tokens``.
    :param pay_type: ``Prepay`` or ``Postpay``.
    :param protocol_version: the inference protocol, 1 or 2; a list shows the services of one of them.
    """

    route: ClassVar[str] = ROUTE

    name: str | None = None
    service_type: TextList = None
    run_status: TextList = None
    creator: TextList = None
    charge_type: str | None = None
    pay_type: Literal["Prepay", "Postpay"] | None = None
    protocol_version: int | None = PROTOCOL


class ModifyService(Request, Action[bool]):
    """Put another model version behind a service. https://cloud.baidu.com/doc/qianfan-api/s/Emwbl485l

    :param service_id: the service, ``svco-…``.
    :param model_set_id: the model set, ``am-…``.
    :param model_id: its version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    service_id: RequiredText
    model_set_id: RequiredText
    model_id: RequiredText


class ScaleService(Request, Action[bool]):
    """Change the replicas of a service on a compute unit. https://cloud.baidu.com/doc/qianfan-api/s/hmm33jcxg

    :param service_id: the service, ``svco-…``.
    :param instance_id: the compute unit, ``unit-…``.
    :param deployment_replicas_count: how many replicas it is to hold; 0 takes the service off it.
    """

    route: ClassVar[str] = ROUTE

    service_id: RequiredText
    instance_id: RequiredText
    deployment_replicas_count: int = Field(ge=0)


class DeactivateServiceResult(Result):
    """Whether it was taken off line, and what the service says about what stays bought."""

    operation: bool | None = None
    message: str | None = None

    @model_validator(mode="before")
    @classmethod
    def _plain_flag(cls, data: Any) -> Any:
        return {"operation": data} if isinstance(data, bool) else {} if data is None else data


class DeactivateService(Request, Action[DeactivateServiceResult]):
    """Take a service off line. https://cloud.baidu.com/doc/qianfan-api/s/Fmm32hcqv

    :param service_id: the service, ``svco-…``.
    """

    route: ClassVar[str] = ROUTE

    service_id: RequiredText


class AttachLogStore(Request, Action[bool]):
    """Write the calls of a service into a log store. https://cloud.baidu.com/doc/qianfan-api/s/umm34s3yg

    :param service_type: ``Custom`` or ``Preset``.
    :param service_id: the service, ``svco-…`` or ``svcp-…``.
    :param log_project: project of the log store.
    :param log_store_name: its name.
    :param log_region: its region.
    """

    route: ClassVar[str] = ROUTE

    service_type: Literal["Custom", "Preset"]
    service_id: RequiredText
    log_project: RequiredText
    log_store_name: RequiredText
    log_region: str | None = None
