"""Actions of routes ``/v2/service`` (deployment) and ``/v2/computeunit``."""

from __future__ import annotations

from airflow_qianfan.api.actions.service.compute_unit import (
    AutoReleaseComputeUnit,
    ComputeUnit,
    DescribeComputeUnit,
    PurchaseComputeUnit,
    PurchaseComputeUnitResult,
    ReleaseComputeUnit,
)
from airflow_qianfan.api.actions.service.deployment import (
    AttachLogStore,
    CreateService,
    CreateServiceResult,
    DeactivateService,
    DeactivateServiceResult,
    DescribeService,
    DescribeServices,
    ModifyService,
    ScaleService,
    Service,
    ServicePage,
)
from airflow_qianfan.api.actions.service.usage import (
    DescribePresetServices,
    DescribeServiceMetric,
    DescribeServiceStats,
    PresetService,
    PresetServices,
    ServiceUsage,
)

__all__ = [
    "AttachLogStore",
    "AutoReleaseComputeUnit",
    "ComputeUnit",
    "CreateService",
    "CreateServiceResult",
    "DeactivateService",
    "DeactivateServiceResult",
    "DescribeComputeUnit",
    "DescribePresetServices",
    "DescribeService",
    "DescribeServiceMetric",
    "DescribeServiceStats",
    "DescribeServices",
    "ModifyService",
    "PresetService",
    "PresetServices",
    "PurchaseComputeUnit",
    "PurchaseComputeUnitResult",
    "ReleaseComputeUnit",
    "ScaleService",
    "Service",
    "ServicePage",
    "ServiceUsage",
]
