"""How much services were used, and the services that Baidu itself offers."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Literal

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from airflow_qianfan.api.actions.base import Action, Request, Result, RowList, read_json
from airflow_qianfan.api.actions.service.deployment import PROTOCOL, ROUTE, TextList


def _moment(value: Any) -> Any:
    """Write a time as the service wants it; ``{{ data_interval_start }}`` yields one with an offset."""
    try:
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return value
    return value if moment.tzinfo is None else moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _check_moment(value: str) -> str:
    if not re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value, re.ASCII):
        raise ValueError("must look like 2026-01-31T08:00:00Z, or be a time with its offset")
    return value


Moment = Annotated[str, BeforeValidator(_moment), AfterValidator(_check_moment)]


class ServiceUsage(Result):
    """How often services were called, and with how many tokens; by service, and by application."""

    start_time: str | None = None
    end_time: str | None = None
    service_list: RowList[Any] = Field(default_factory=list)

    def output(self) -> dict[str, Any]:
        """Return it fit for XCom, the rows as the service sent them."""
        return {"start_time": self.start_time, "end_time": self.end_time, "services": self.service_list}


class _Usage(Request):
    """The members of both Actions."""

    start_time: Moment
    end_time: Moment
    service_id: TextList = None
    app_id: TextList = None
    protocol_version: int | None = PROTOCOL


class DescribeServiceMetric(_Usage, Action[ServiceUsage]):
    """Count calls and tokens. https://cloud.baidu.com/doc/qianfan-api/s/4mm33t0kj

    :param start_time: ``2026-01-31T08:00:00Z``, or a time with its offset; counted in whole minutes.
    :param end_time: as the start.
    :param service_id: only these services.
    :param app_id: only these applications.
    :param protocol_version: the inference protocol of the services, 1 or 2.
    """

    route: ClassVar[str] = ROUTE


class DescribeServiceStats(_Usage, Action[ServiceUsage]):
    """Count calls and tokens by intervals. https://cloud.baidu.com/doc/qianfan-api/s/8mm34cmuu

    The page's table calls the interval ``Interval``, everything else ``interval``: both are sent.

    :param start_time: ``2026-01-31T08:00:00Z``, or a time with its offset; counted in whole minutes.
    :param end_time: as the start.
    :param interval: seconds of an interval: 86400, 3600 or 60.
    :param service_id: only these services.
    :param app_id: only these applications.
    :param protocol_version: the inference protocol of the services, 1 or 2.
    """

    route: ClassVar[str] = ROUTE

    interval: int

    @field_validator("interval")
    @classmethod
    def _is_a_known_interval(cls, value: int) -> int:
        if value not in (86400, 3600, 60):
            raise ValueError("must be 86400, 3600 or 60")
        return value

    def body(self) -> dict[str, Any]:
        """Return the JSON body, with the interval under both of its names."""
        return {**super().body(), "Interval": self.interval}


class PresetService(Result):
    """A service that Baidu offers."""

    service_id: str
    name: str | None = None
    url: str | None = None
    endpoint: str | None = None
    service_type: str | None = None
    charge_type: str | None = None
    charge_status: str | None = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return self.model_dump(include=set(PresetService.model_fields))


class PresetServices(Result):
    """The services that Baidu offers."""

    service_list: RowList[PresetService] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _plain_list(cls, data: Any) -> Any:
        return {"serviceList": data} if isinstance(data, list) else data

    def output(self) -> dict[str, Any]:
        """Return them fit for XCom."""
        return {"services": [service.output() for service in self.service_list]}


class DescribePresetServices(Request, Action[PresetServices]):
    """List services that Baidu offers. https://cloud.baidu.com/doc/qianfan-api/s/zmm1slf79

    :param service_ids: only these, ``svcp-…``.
    :param service_type: only of these types: ``chat``, ``completions`` …
    :param charge_type: only those charged so: ``TPM``, ``Tokens``, ``Calls``, ``Free``.
    :param charge_status: only in these states: ``NotOpen``, ``Opened``, ``Stopped``, ``Free``.
    :param protocol_version: the inference protocol, 1 or 2.
    """

    route: ClassVar[str] = ROUTE

    service_ids: TextList = None
    service_type: TextList = None
    charge_type: Annotated[
        list[Literal["TPM", "Tokens", "Calls", "Free"]] | None, BeforeValidator(read_json)
    ] = None
    charge_status: Annotated[
        list[Literal["NotOpen", "Opened", "Stopped", "Free"]] | None, BeforeValidator(read_json)
    ] = None
    protocol_version: int | None = PROTOCOL
