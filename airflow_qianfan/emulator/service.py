"""The Actions of ``/v2/service``."""

from __future__ import annotations

import re
import secrets
from typing import Annotated, Any, Literal

from pydantic import Field

from airflow_qianfan.emulator.actions import Body, Call, Page, Text, page, parse
from airflow_qianfan.emulator.compute_unit import TYPES_OF_RESOURCES, ComputeUnit, Reservation
from airflow_qianfan.emulator.deployment import PAY_TYPES, ROUTE, Service, new_endpoint
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.model import Model, ModelSet
from airflow_qianfan.emulator.records import new_id
from airflow_qianfan.emulator.service_usage import PRESET

__all__ = ["ROUTE"]

_SUFFIX = re.compile(r"[a-z0-9]([a-z0-9_-]*[a-z0-9])?")

CREATOR = "emulator"
"""Who has created all services."""

Qps = Annotated[float, Field(gt=0, le=50)]


class DeployedUnit(Body):
    instance_id: Text
    deployment_replicas_count: int = Field(ge=1)


class Deployment(Body):
    deployment_compute_unit_list: list[DeployedUnit] | None = None
    replicas_count: int | None = Field(default=None, ge=1)
    qps: Qps | None = None
    replica_compute_unit_count: int | None = Field(default=None, ge=1)


class Resource(Body):
    region: Literal["bj", "bd"] | None = None
    type: str | None = None
    qps: Qps | None = None
    replicas_count: int | None = Field(default=None, ge=1)


class Billing(Body):
    payment_timing: Literal["Prepaid", "Postpaid"]
    charge_type: Literal["ComputingUnit", "Tokens"] | None = None
    reservation: Reservation | None = None


class CreateService(Body):
    model_set_id: Text
    model_id: Text
    name: str = Field(min_length=2, max_length=20)
    description: str | None = Field(default=None, max_length=500)
    url_suffix: str = Field(min_length=2, max_length=20)
    deployment_config: Deployment | None = None
    resource_config: Resource | None = None
    billing: Billing | None = None
    protocol_version: Literal[1, 2] | None = None


class ServiceId(Body):
    service_id: Text
    protocol_version: Literal[1, 2] | None = None


class ListServices(Page):
    name: str | None = None
    service_type: list[str] | None = None
    run_status: list[str] | None = None
    creator: list[str] | None = None
    charge_type: str | None = None
    pay_type: Literal["Prepay", "Postpay"] | None = None
    protocol_version: Literal[1, 2] | None = None


class ModifyService(Body):
    service_id: Text
    model_set_id: Text
    model_id: Text


class ScaleService(Body):
    service_id: Text
    instance_id: Text
    deployment_replicas_count: int = Field(ge=0)


class LogStore(Body):
    service_type: Literal["Custom", "Preset"]
    service_id: Text
    log_region: str | None = None
    log_project: Text
    log_store_name: Text


@ROUTE.action("CreateService")
def create_service(call: Call) -> Any:
    request = parse(CreateService, call.body)
    if not _SUFFIX.fullmatch(request.url_suffix):
        raise bad_parameter("urlSuffix")
    units = (request.deployment_config and request.deployment_config.deployment_compute_unit_list) or []
    charge_type = "ComputingUnit" if units else _check_order(request)
    _check_qps(request)
    version = _deployable(call, request.model_set_id, request.model_id)
    for unit in units:
        _check_room(call, unit.instance_id, unit.deployment_replicas_count)
    timing = request.billing.payment_timing if request.billing else "Prepaid"
    sent = call.body.get("resourceConfig")
    service = Service(
        id=new_id("svco"),
        name=request.name,
        description=request.description or "",
        endpoint=new_endpoint(request.url_suffix),
        protocol_version=request.protocol_version or 1,
        charge_type=charge_type,
        pay_type=PAY_TYPES[timing],
        resource=_shown_resource(call, sent if isinstance(sent, dict) else {}),
        seconds=call.model_seconds,
        fails="fail" in request.name.lower(),
        versions=[{**version, "since": call.now, "ready": call.now, "fails": False}],
        instance_id=secrets.token_hex(16),
        shows_update_at_once=call.assumptions.update_shows_new_version == "at once",
        units={unit.instance_id: unit.deployment_replicas_count for unit in units},
        created=call.now,
        request=call.body,
    )
    call.put(service)
    call.ids["serviceId"] = service.id
    return {"serviceId": service.id, "instanceId": service.instance_id}


def _check_order(request: CreateService) -> str:
    """Return how a service that runs on no units is charged."""
    billing, resource = request.billing, request.resource_config
    if billing is None:
        raise bad_parameter("billing")
    if billing.payment_timing == "Prepaid" and billing.reservation is None:
        raise bad_parameter("reservation")
    charge_type = billing.charge_type or "ComputingUnit"
    if charge_type == "ComputingUnit":
        if resource is None:
            raise bad_parameter("resourceConfig")
        if resource.type not in TYPES_OF_RESOURCES:
            raise bad_parameter("type")
    return charge_type


def _check_qps(request: CreateService) -> None:
    for part in (request.deployment_config, request.resource_config):
        if part is not None and part.qps is not None and round(part.qps, 2) != part.qps:
            raise bad_parameter("qps")


def _deployable(call: Call, model_set_id: str, model_id: str) -> dict[str, Any]:
    """Return a version that can be put behind a service."""
    call.find(ModelSet, "modelSetId", model_set_id)
    model = call.find(Model, "modelId", model_id)
    if model.model_set_id != model_set_id:
        raise bad_parameter("modelId")
    if model.status(call.now) != "Ready":
        raise call.wrong_state("The version is not ready.")
    return {"model_set_id": model_set_id, "model_id": model_id, "base_model": model.base_model}


def _check_room(call: Call, unit_id: str, replicas: int, service_id: str | None = None) -> None:
    """Refuse more replicas than a compute unit has room for beside those of other services."""
    unit = call.find(ComputeUnit, "instanceId", unit_id)
    if unit.status(call.now) != "Running":
        raise call.wrong_state("The compute unit is not running.")
    others = sum(
        service.units.get(unit_id, 0)
        for service in call.all(Service)
        if service.id != service_id and service.status(call.now) != "Stopped"
    )
    if others + replicas > unit.count:
        raise call.wrong_state("The compute unit has not enough room.")


def _shown_resource(call: Call, resource: dict[str, Any]) -> dict[str, Any]:
    shown = dict(resource)
    if call.assumptions.resource_type_spelling == "Describe" and isinstance(shown.get("type"), str):
        shown["type"] = shown["type"].replace("PU-1-", "PU-I-")
    return shown


@ROUTE.action("DescribeService", shows_state=True)
def describe_service(call: Call) -> Any:
    request = parse(ServiceId, call.body)
    return call.find(Service, "serviceId", request.service_id).show(call)


@ROUTE.action("DescribeServices", shows_state=True)
def describe_services(call: Call) -> Any:
    request = parse(ListServices, call.body)
    protocol = request.protocol_version or call.assumptions.default_protocol
    wanted = {
        "serviceType": request.service_type,
        "runStatus": request.run_status,
        "chargeType": [request.charge_type] if request.charge_type else None,
        "payType": [request.pay_type] if request.pay_type else None,
    }
    services = [
        service
        for service in call.all(Service)
        if protocol in (None, service.protocol_version)
        and (request.name or "").lower() in service.name.lower()
        and (not request.creator or CREATOR in request.creator)
        and all(not words or service.show(call)[member] in words for member, words in wanted.items())
    ]
    chosen, info = page(services, request, call.assumptions.newest_first)
    rows = [service.show(call) for service in chosen]
    if not call.assumptions.service_list_has_description:
        for row in rows:
            del row["description"]
    return {"serviceList": rows, "pageInfo": info}


@ROUTE.action("ModifyService")
def modify_service(call: Call) -> Any:
    request = parse(ModifyService, call.body)
    service = call.find(Service, "serviceId", request.service_id)
    version = _deployable(call, request.model_set_id, request.model_id)
    if service.status(call.now) != "Serving":
        raise call.wrong_state("The service does not serve.")
    if service.is_updating(call.now):
        raise call.wrong_state("The service is being updated.")
    model = call.find(Model, "modelId", request.model_id)
    fails = "unfit" in (model.name + model.description).lower()
    ready = call.now + call.model_seconds
    service.versions.append({**version, "since": call.now, "ready": ready, "fails": fails})
    call.put(service)
    return True


@ROUTE.action("ScaleService")
def scale_service(call: Call) -> Any:
    request = parse(ScaleService, call.body)
    service = call.find(Service, "serviceId", request.service_id)
    if request.deployment_replicas_count == 0:
        call.find(ComputeUnit, "instanceId", request.instance_id)
        service.units.pop(request.instance_id, None)
    else:
        _check_room(call, request.instance_id, request.deployment_replicas_count, service.id)
        service.units[request.instance_id] = request.deployment_replicas_count
    call.put(service)
    return True


@ROUTE.action("DeactivateService")
def deactivate_service(call: Call) -> Any:
    service = call.find(Service, "serviceId", parse(ServiceId, call.body).service_id)
    if service.stopped is not None:
        return {"operation": False, "message": "The service is off line already."}
    service.stopped = call.now + call.assumptions.stop_delay_seconds
    call.put(service)
    message = "The service goes off line. Postpaid resources stay bought until they are released."
    return {"operation": True, "message": message}


@ROUTE.action("AttachLogStore")
def attach_log_store(call: Call) -> Any:
    request = parse(LogStore, call.body)
    if request.service_type == "Preset":
        call.ids["serviceId"] = request.service_id
        if request.service_id not in [row["serviceId"] for row in PRESET]:
            raise call.missing("serviceId")
        return True
    service = call.find(Service, "serviceId", request.service_id)
    service.log_store = call.body
    call.put(service)
    return True
