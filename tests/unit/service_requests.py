"""Requests of services and compute units: what they send, and what they refuse."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

from members import without

from airflow_qianfan.api.actions.service import (
    AttachLogStore,
    AutoReleaseComputeUnit,
    CreateService,
    DeactivateService,
    DescribeComputeUnit,
    DescribePresetServices,
    DescribeService,
    DescribeServiceMetric,
    DescribeServices,
    DescribeServiceStats,
    ModifyService,
    PurchaseComputeUnit,
    ReleaseComputeUnit,
    ScaleService,
)

SERVICE = {"model_set_id": "am-1", "model_id": "amv-1", "name": "faq bot", "url_suffix": "faq_bot"}
SERVICE_BODY = {
    "modelSetId": "am-1",
    "modelId": "amv-1",
    "name": "faq bot",
    "urlSuffix": "faq_bot",
    "protocolVersion": 2,
}
POSTPAID = {"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"}
TOKENS = {"paymentTiming": "Postpaid", "chargeType": "Tokens"}
RESOURCES = {"resource_config": {"region": "bj", "type": "GPU-1-1", "qps": 5}, "billing": POSTPAID}
BOUGHT = {**SERVICE, **RESOURCES}
UNITS = {"deploymentComputeUnitList": [{"instanceId": "unit-1", "deploymentReplicasCount": 1}], "qps": 0.5}
CHANGE = {"service_id": "svco-1", "model_set_id": "am-1", "model_id": "amv-1"}
SCALE = {"service_id": "svco-1", "instance_id": "unit-1", "deployment_replicas_count": 0}
PERIOD = {"start_time": "2026-01-31T08:00:00Z", "end_time": "2026-01-31T09:00:00Z"}
PERIOD_BODY = {"startTime": "2026-01-31T08:00:00Z", "endTime": "2026-01-31T09:00:00Z", "protocolVersion": 2}
LOG_STORE = {"service_type": "Custom", "service_id": "svco-1", "log_project": "p", "log_store_name": "s"}
PURCHASE = {
    "compute_unit_count": 2,
    "compute_unit_config": {"region": "bj", "type": "gpu-1"},
    "billing": {"paymentTiming": "Postpaid"},
}

BODIES: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    "service-on-new-resources": (
        CreateService,
        {**BOUGHT, "description": "nightly"},
        {
            **SERVICE_BODY,
            "description": "nightly",
            "resourceConfig": {"region": "bj", "type": "GPU-1-1", "qps": 5},
            "billing": POSTPAID,
        },
    ),
    "service-on-bought-units": (
        CreateService,
        {**SERVICE, "deployment_config": UNITS},
        {**SERVICE_BODY, "deploymentConfig": UNITS},
    ),
    "service-with-objects-as-json-text": (
        CreateService,
        {
            **SERVICE,
            "resource_config": '{"type": "GPU-I-2"}',
            "billing": json.dumps(POSTPAID),
            "deployment_config": '{"deploymentComputeUnitList": []}',
        },
        {
            **SERVICE_BODY,
            "resourceConfig": {"type": "GPU-I-2"},
            "billing": POSTPAID,
            "deploymentConfig": {"deploymentComputeUnitList": []},
        },
    ),
    "service-charged-by-tokens-needs-no-resources": (
        CreateService,
        {**SERVICE, "billing": TOKENS},
        {**SERVICE_BODY, "billing": TOKENS},
    ),
    "service-of-the-withdrawn-protocol": (
        CreateService,
        {**SERVICE, "billing": TOKENS, "protocol_version": "1"},
        {**SERVICE_BODY, "billing": TOKENS, "protocolVersion": 1},
    ),
    "service-whose-protocol-is-left-to-qianfan": (
        CreateService,
        {**SERVICE, "billing": TOKENS, "protocol_version": None},
        {**without(SERVICE_BODY, "protocolVersion"), "billing": TOKENS},
    ),
    "describe-service": (DescribeService, {"service_id": "svco-1"}, {"serviceId": "svco-1"}),
    "describe-service-of-a-protocol": (
        DescribeService,
        {"service_id": "svco-1", "protocol_version": 2},
        {"serviceId": "svco-1", "protocolVersion": 2},
    ),
    "services": (DescribeServices, {}, {"protocolVersion": 2}),
    "services-filtered-and-paged": (
        DescribeServices,
        {
            "name": "faq",
            "service_type": ["chat"],
            "run_status": '["Serving", "New"]',
            "creator": ["me"],
            "charge_type": "Tokens",
            "pay_type": "Postpay",
            "protocol_version": None,
            "max_keys": 100,
        },
        {
            "name": "faq",
            "serviceType": ["chat"],
            "runStatus": ["Serving", "New"],
            "creator": ["me"],
            "chargeType": "Tokens",
            "payType": "Postpay",
            "maxKeys": 100,
        },
    ),
    "modify-service": (
        ModifyService,
        CHANGE,
        {"serviceId": "svco-1", "modelSetId": "am-1", "modelId": "amv-1"},
    ),
    "scale-service": (
        ScaleService,
        {**SCALE, "deployment_replicas_count": "3"},
        {"serviceId": "svco-1", "instanceId": "unit-1", "deploymentReplicasCount": 3},
    ),
    "deactivate-service": (DeactivateService, {"service_id": "svco-1"}, {"serviceId": "svco-1"}),
    "log-store": (
        AttachLogStore,
        {**LOG_STORE, "log_region": "bj"},
        {
            "serviceType": "Custom",
            "serviceId": "svco-1",
            "logProject": "p",
            "logStoreName": "s",
            "logRegion": "bj",
        },
    ),
    "metric": (DescribeServiceMetric, PERIOD, PERIOD_BODY),
    "metric-of-services-and-applications": (
        DescribeServiceMetric,
        {
            "start_time": datetime(2026, 1, 31, 8, tzinfo=UTC),
            "end_time": datetime(2026, 1, 31, 17, tzinfo=timezone(timedelta(hours=8))),
            "service_id": ["svco-1"],
            "app_id": '["app-1"]',
        },
        {**PERIOD_BODY, "serviceId": ["svco-1"], "appId": ["app-1"]},
    ),
    "metric-as-a-template-yields-the-times": (
        DescribeServiceMetric,
        {"start_time": "2026-01-31T08:00:00+00:00", "end_time": "2026-01-31 17:00:00.5+08:00"},
        PERIOD_BODY,
    ),
    "stats-with-the-interval-in-both-spellings": (
        DescribeServiceStats,
        {**PERIOD, "interval": "3600"},
        {**PERIOD_BODY, "interval": 3600, "Interval": 3600},
    ),
    "preset-services": (
        DescribePresetServices,
        {"service_ids": ["svcp-1"], "charge_type": ["Free"], "charge_status": '["Opened"]'},
        {
            "serviceIds": ["svcp-1"],
            "chargeType": ["Free"],
            "chargeStatus": ["Opened"],
            "protocolVersion": 2,
        },
    ),
    "purchase": (
        PurchaseComputeUnit,
        {**PURCHASE, "billing": '{"paymentTiming": "Prepaid", "reservation": {"reservationLength": 1}}'},
        {
            "computeUnitCount": 2,
            "computeUnitConfig": {"region": "bj", "type": "gpu-1"},
            "billing": {"paymentTiming": "Prepaid", "reservation": {"reservationLength": 1}},
        },
    ),
    "compute-unit": (DescribeComputeUnit, {"instance_id": "unit-1"}, {"instanceId": "unit-1"}),
    "release": (ReleaseComputeUnit, {"instance_id": "unit-1"}, {"instanceId": "unit-1"}),
    "release-later": (
        AutoReleaseComputeUnit,
        {"instance_id": "unit-1", "release_time": "2026-01-31 08:00:00"},
        {"instanceId": "unit-1", "releaseTime": "2026-01-31 08:00:00"},
    ),
    "no-release-later": (AutoReleaseComputeUnit, {"instance_id": "unit-1"}, {"instanceId": "unit-1"}),
}

LIMITS: dict[str, tuple[type, list[dict[str, Any]]]] = {
    "service-name": (CreateService, [{**BOUGHT, "name": name} for name in ("xy", "名" * 20)]),
    "service-address": (
        CreateService,
        [{**BOUGHT, "url_suffix": suffix} for suffix in ("a1", "9-_b", "x" * 20)],
    ),
    "service-description": (CreateService, [{**BOUGHT, "description": "x" * 500}]),
    "replicas": (ScaleService, [SCALE]),
    "intervals": (DescribeServiceStats, [{**PERIOD, "interval": size} for size in (60, 3600, 86400)]),
}

VIOLATIONS: list[tuple[type, dict[str, Any], str]] = [
    *(
        (CreateService, without(BOUGHT, name), alias)
        for name, alias in [
            ("model_set_id", "modelSetId"),
            ("model_id", "modelId"),
            ("name", "name"),
            ("url_suffix", "urlSuffix"),
        ]
    ),
    (CreateService, {**BOUGHT, "name": "x"}, "name"),
    (CreateService, {**BOUGHT, "name": "x" * 21}, "name"),
    (CreateService, {**BOUGHT, "description": "x" * 501}, "description"),
    *(
        (CreateService, {**BOUGHT, "url_suffix": suffix}, "urlSuffix")
        for suffix in ("x", "x" * 21, "Faq", "faq bot", "-faq", "faq_", "fäq", "faq.bot", "faq\n")
    ),
    (CreateService, SERVICE, "billing"),
    (CreateService, SERVICE, "deploymentConfig"),
    (CreateService, {**SERVICE, "deployment_config": {"deploymentComputeUnitList": []}}, "billing"),
    (CreateService, {**SERVICE, "resource_config": {"type": "GPU-1-1"}}, "billing"),
    (CreateService, {**SERVICE, "billing": POSTPAID}, "resourceConfig"),
    (CreateService, {**SERVICE, "billing": {"paymentTiming": "Postpaid"}}, "resourceConfig"),
    (CreateService, {**BOUGHT, "resource_config": "GPU-1-1"}, "resourceConfig"),
    (CreateService, {**BOUGHT, "billing": "[]"}, "billing"),
    (CreateService, {**BOUGHT, "protocol_version": "two"}, "protocolVersion"),
    (DescribeService, {"service_id": ""}, "serviceId"),
    (DescribeServices, {"max_keys": 101}, "maxKeys"),
    (DescribeServices, {"pay_type": "Prepaid"}, "payType"),
    (DescribeServices, {"run_status": "Serving"}, "runStatus"),
    *(
        (ModifyService, {**CHANGE, name: ""}, alias)
        for name, alias in [
            ("service_id", "serviceId"),
            ("model_set_id", "modelSetId"),
            ("model_id", "modelId"),
        ]
    ),
    (ScaleService, {**SCALE, "instance_id": ""}, "instanceId"),
    (ScaleService, {**SCALE, "deployment_replicas_count": -1}, "deploymentReplicasCount"),
    (DeactivateService, {}, "serviceId"),
    (AttachLogStore, {**LOG_STORE, "service_type": "custom"}, "serviceType"),
    (AttachLogStore, without(LOG_STORE, "log_project"), "logProject"),
    (AttachLogStore, {**LOG_STORE, "log_store_name": ""}, "logStoreName"),
    (DescribeServiceMetric, {**PERIOD, "start_time": "yesterday"}, "startTime"),
    (DescribeServiceMetric, {**PERIOD, "end_time": "2026-01-31T08:00:00"}, "endTime"),
    (DescribeServiceMetric, {**PERIOD, "end_time": 1_700_000_000}, "endTime"),
    (DescribeServiceMetric, {**PERIOD, "app_id": "app-1"}, "appId"),
    (DescribeServiceStats, PERIOD, "interval"),
    (DescribeServiceStats, {**PERIOD, "interval": 61}, "interval"),
    (DescribePresetServices, {"charge_type": ["free"]}, "chargeType.0"),
    (DescribePresetServices, {"charge_status": ["Closed"]}, "chargeStatus.0"),
    (PurchaseComputeUnit, {**PURCHASE, "compute_unit_count": 0}, "computeUnitCount"),
    (PurchaseComputeUnit, {**PURCHASE, "billing": {}}, "billing"),
    (PurchaseComputeUnit, {**PURCHASE, "billing": {"paymentTiming": "Postpay"}}, "billing"),
    (PurchaseComputeUnit, {**PURCHASE, "compute_unit_config": {"region": "bj"}}, "computeUnitConfig.type"),
    (DescribeComputeUnit, {"instance_id": ""}, "instanceId"),
    (ReleaseComputeUnit, {}, "instanceId"),
    (AutoReleaseComputeUnit, {"release_time": "x"}, "instanceId"),
]
