"""The Actions of ``/v2/service`` that count calls, and those of the services that Baidu itself offers."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from airflow_qianfan.api.signing import canonical_time
from airflow_qianfan.emulator.actions import Body, Call, Text, parse
from airflow_qianfan.emulator.deployment import ROUTE, V2_URL, Service
from airflow_qianfan.emulator.errors import bad_parameter

_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", re.ASCII)
_MAX_INTERVALS = 10_000

PRESET: list[dict[str, Any]] = [
    {
        "serviceId": f"svcp-{number:012d}",
        "name": name,
        "url": V2_URL,
        "endpoint": name.lower(),
        "serviceType": "chat",
        "chargeType": charge_type,
        "chargeStatus": charge_status,
    }
    for number, (name, charge_type, charge_status) in enumerate(
        [("ERNIE-4.5-Turbo-128K", "Tokens", "Opened"), ("ERNIE-Speed-8K", "Free", "Free")], 1
    )
]

APP = "app-emulator"
"""The application that all calls come from."""


class Usage(Body):
    service_id: list[str] | None = None
    app_id: list[str] | None = None
    start_time: Text
    end_time: Text
    protocol_version: Literal[1, 2] | None = None


class Statistics(Usage):
    interval: Literal[86400, 3600, 60] | None = None
    # So it stands in the page's table.
    interval_of_table: Literal[86400, 3600, 60] | None = Field(default=None, alias="Interval")


class PresetServices(Body):
    service_ids: list[str] | None = None
    service_type: list[str] | None = None
    charge_type: list[Literal["TPM", "Tokens", "Calls", "Free"]] | None = None
    charge_status: list[Literal["NotOpen", "Opened", "Stopped", "Free"]] | None = None
    protocol_version: Literal[1, 2] | None = None


@ROUTE.action("DescribeServiceMetric")
def describe_metric(call: Call) -> Any:
    start, end = _period(parse(Usage, call.body))
    return _usage(call, lambda service: {"metric": service.metric(start, end)})


@ROUTE.action("DescribeServiceStats")
def describe_stats(call: Call) -> Any:
    request = parse(Statistics, call.body)
    interval = request.interval or request.interval_of_table
    if interval is None or interval != (request.interval_of_table or interval):
        raise bad_parameter("interval")
    start, end = _period(request)
    if (end - start) / interval > _MAX_INTERVALS:
        raise bad_parameter("interval")
    begins = [start + number * interval for number in range(int((end - start) // interval) + 1)]
    return _usage(
        call,
        lambda service: {
            "metricList": [
                {"startTime": canonical_time(begin), **service.metric(begin, min(begin + interval - 1, end))}
                for begin in begins
            ]
        },
    )


def _period(request: Usage) -> tuple[float, float]:
    """Return the beginning of the first minute and the end of the last."""
    moments = []
    for name, text in (("startTime", request.start_time), ("endTime", request.end_time)):
        try:
            moments.append(datetime.fromisoformat(text).timestamp() if _TIME.fullmatch(text) else None)
        except (ValueError, OverflowError):
            moments.append(None)
        if moments[-1] is None:
            raise bad_parameter(name)
    start, end = (float(moment or 0) for moment in moments)
    if end < start:
        raise bad_parameter("endTime")
    return start // 60 * 60, end // 60 * 60 + 59


def _usage(call: Call, figures: Callable[[Service], dict[str, Any]]) -> Any:
    """Return the rows of all services that were called, with their figures."""
    request = parse(Usage, call.body)
    protocol = request.protocol_version or call.assumptions.default_protocol
    call.ids["serviceId"] = request.service_id or []
    rows = [
        {
            "serviceId": service.id,
            "serviceName": service.name,
            "appList": [{"appId": APP, **figures(service)}],
        }
        for service in call.all(Service)
        if protocol in (None, service.protocol_version)
        and (not request.service_id or service.id in request.service_id)
        and (not request.app_id or APP in request.app_id)
        and service.usage
    ]
    return {"startTime": request.start_time, "endTime": request.end_time, "serviceList": rows}


@ROUTE.action("DescribePresetServices", shows_state=True)
def describe_preset_services(call: Call) -> Any:
    request = parse(PresetServices, call.body)
    wanted = {
        "serviceId": request.service_ids,
        "serviceType": request.service_type,
        "chargeType": request.charge_type,
        "chargeStatus": request.charge_status,
    }
    rows = [row for row in PRESET if all(not words or row[name] in words for name, words in wanted.items())]
    return {"serviceList": [dict(row) for row in rows]}
