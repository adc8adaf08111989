"""One operator for each Action of services, which are deployed model versions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option
from airflow_qianfan.operators.base.deploy import (
    PROTOCOL,
    QianfanDeployOperator,
    QianfanNewServiceOperator,
)
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.publish import QianfanPublishingOperator
from airflow_qianfan.operators.base.stop import QianfanStopOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

SERVICE = "service.Service"
SERVICE_TRIGGER = "service.QianfanServiceTrigger"


class _ServiceAsset(QianfanPublishingOperator):
    """Tells of the version that a service serves."""

    asset_collection = "services"
    model_set_id: str
    model_id: str

    def published(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the asset event tells of the service."""
        return {
            "service_id": result["service_id"],
            "model_set_id": result.get("model_set_id") or self.model_set_id,
            "model_id": result.get("model_id") or self.model_id,
            "previous_model_id": result.get("previous_model_id"),
            "state": result.get("status"),
        }


class QianfanCreateServiceOperator(_ServiceAsset, QianfanNewServiceOperator):
    """Deploy a model version as a new service (CreateService). This costs money.

    One run of this task creates exactly one service, whatever crashes. A clear attaches to a service that
    goes on. Where the arguments are others, it creates another; one whose result was handed over goes on
    beside it, unless ``on_clear`` is ``restart``.

    Returns ``service_id``, ``name``, ``model_set_id``, ``model_id``, ``url``, ``endpoint``, ``service_type``,
    ``status``, ``run_status`` (the service's own word), ``update_status``, ``charge_type``, ``pay_type``,
    ``create_time`` and ``console_url``; without ``wait_for_completion`` only ``service_id`` and
    ``name``, and ``QianfanServiceSensor`` waits until it is Serving. A service that nobody has paid for may
    stay ``New`` for ever: give the task an ``execution_timeout``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/kmm2wd9z1
    """

    action = "service.CreateService"
    kind_path = SERVICE
    trigger_path = SERVICE_TRIGGER
    operator_extra_links = links.SERVICE

    wait_for_completion: bool = option("wait until the service is Serving.", default=False)


class QianfanDescribeServiceOperator(QianfanRequestOperator):
    """Describe a service (DescribeService), in whatever state it is.

    Returns ``service_id``, ``name``, ``model_set_id``, ``model_id``, ``url``, ``endpoint``, ``service_type``,
    ``status``, ``run_status`` (the service's own word), ``update_status``, ``charge_type``, ``pay_type``,
    ``create_time`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/zmm1xw37v
    """

    action = "service.DescribeService"
    operator_extra_links = links.SERVICE

    service_id: str = member("the service, ``svco-…``.")
    protocol_version: int | str | None = member("inference protocol, 1 or 2.", default=None)


class QianfanDescribeServicesOperator(QianfanListOperator):
    """List services (DescribeServices). Returns a list of dicts like those of
    :class:`QianfanDescribeServiceOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/rmm1us8cr
    """

    action = "service.DescribeServices"

    name: str | None = member("only services whose name holds this.", default=None)
    service_type: Sequence[str] | str | None = member(
        "only of these types: ``chat``, ``completions``, ``text2image``, ``image2text``.",
        default=None,
        json=True,
    )
    run_status: Sequence[str] | str | None = member("only in these states.", default=None, json=True)
    creator: Sequence[str] | str | None = member("only of these creators.", default=None, json=True)
    charge_type: str | None = member("``ComputingUnit`` or ``Tokens``.", default=None)
    pay_type: Literal["Prepay", "Postpay"] | str | None = member("``Prepay`` or ``Postpay``.", default=None)
    protocol_version: int | str | None = member(
        "inference protocol, 1 or 2: a list shows the services of one of them.", default=PROTOCOL
    )


class _ChangeOperator(QianfanRequestOperator):
    """Changes something, and returns what it was told to."""

    operator_extra_links = links.SERVICE

    def run_action(self, context: Context) -> dict[str, Any]:
        """Call the Action."""
        from airflow_qianfan.api.actions import load

        request = self.make_request()
        self.console_url = self.console_page(load(SERVICE)(service_id=request.service_id))
        self.hook.call(request)
        return {
            name: getattr(request, argument.member or name)
            for name, argument in type(self).arguments.items()
            if argument.member is not None
        }


class QianfanModifyServiceOperator(_ChangeOperator):
    """Put another model version behind a service (ModifyService). Returns ``service_id``, ``model_set_id``
    and ``model_id``. The update takes a while: ``QianfanServiceSensor`` waits for its end. To wait, to try
    the service and to take it back to the version before, use :class:`QianfanServiceOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Emwbl485l
    """

    action = "service.ModifyService"

    service_id: str = member("the service, ``svco-…``.")
    model_set_id: str = member("the model set, ``am-…``.")
    model_id: str = member("its version, ``amv-…``.")


class QianfanScaleServiceOperator(_ChangeOperator):
    """Change the replicas of a service on a compute unit (ScaleService). Returns ``service_id``,
    ``compute_unit_id`` and ``deployment_replicas_count``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/hmm33jcxg
    """

    action = "service.ScaleService"

    service_id: str = member("the service, ``svco-…``.")
    compute_unit_id: str = member("the compute unit, ``unit-…``.", name="instance_id")
    deployment_replicas_count: int | str = member(
        "how many replicas the unit is to hold; 0 takes the service off it."
    )


class QianfanDeactivateServiceOperator(QianfanStopOperator):
    """Take a service off line (DeactivateService). Returns ``service_id``, ``status`` and ``run_status``.

    Nothing can bring it back. Postpaid resources stay bought, and cost money, until they are released.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Fmm32hcqv
    """

    action = "service.DeactivateService"
    operator_extra_links = links.SERVICE
    kind_path = SERVICE

    service_id: str = member("the service, ``svco-…``.")


class QianfanAttachLogStoreOperator(_ChangeOperator):
    """Write the calls of a service into a log store (AttachLogStore). Returns its arguments.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/umm34s3yg
    """

    action = "service.AttachLogStore"

    service_id: str = member("the service, ``svco-…`` or ``svcp-…``.")
    log_project: str = member("project of the log store.")
    log_store_name: str = member("name of the log store.")
    log_region: str | None = member("region of the log store.", default=None)
    service_type: Literal["Custom", "Preset"] | str = member(
        "``Custom``, or ``Preset`` for a service of Baidu's own.", default="Custom"
    )


class _UsageOperator(QianfanRequestOperator):
    """The arguments of both Actions that count."""

    start_time: str = member("``2026-01-31T08:00:00Z``, or a time with its offset; whole minutes count.")
    end_time: str = member("as the start.")
    service_ids: Sequence[str] | str | None = member(
        "only these services.", default=None, json=True, name="service_id"
    )
    app_ids: Sequence[str] | str | None = member(
        "only these applications.", default=None, json=True, name="app_id"
    )
    protocol_version: int | str | None = member(
        "inference protocol of the services, 1 or 2.", default=PROTOCOL
    )


class QianfanDescribeServiceMetricOperator(_UsageOperator):
    """Count calls and tokens of services (DescribeServiceMetric). Returns ``start_time``, ``end_time`` and
    ``services``, a list as the service sends it: ``serviceId``, ``serviceName`` and ``appList``, with the
    ``metric`` of each application.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/4mm33t0kj
    """

    action = "service.DescribeServiceMetric"


class QianfanDescribeServiceStatsOperator(_UsageOperator):
    """Count calls and tokens of services by intervals (DescribeServiceStats). Returns ``start_time``,
    ``end_time`` and ``services``, a list as the service sends it.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/8mm34cmuu
    """

    action = "service.DescribeServiceStats"

    interval: int | str = member("seconds of an interval: 86400, 3600 or 60.")


class QianfanDescribePresetServicesOperator(QianfanRequestOperator):
    """List services that Baidu offers (DescribePresetServices). Returns ``services``, a list of dicts with
    ``service_id``, ``name``, ``url``, ``endpoint``, ``service_type``, ``charge_type`` and ``charge_status``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/zmm1slf79
    """

    action = "service.DescribePresetServices"

    service_ids: Sequence[str] | str | None = member("only these, ``svcp-…``.", default=None, json=True)
    service_type: Sequence[str] | str | None = member(
        "only of these types: ``chat``, ``completions`` …", default=None, json=True
    )
    charge_type: Sequence[str] | str | None = member(
        "only those charged so: ``TPM``, ``Tokens``, ``Calls``, ``Free``.", default=None, json=True
    )
    charge_status: Sequence[str] | str | None = member(
        "only in these states: ``NotOpen``, ``Opened``, ``Stopped``, ``Free``.", default=None, json=True
    )
    protocol_version: int | str | None = member("inference protocol, 1 or 2.", default=PROTOCOL)


class QianfanServiceOperator(_ServiceAsset, QianfanDeployOperator):
    """Deploy a model version: as a new service or, with ``service_id``, behind one that exists. Wait until it
    is Serving, and ask it something, if ``smoke_test`` says what.

    A new service costs money; one run of this task creates exactly one, whatever crashes, and a user who ends
    the task takes it off line again. A service that existed before is never taken off line. Where its update
    or the smoke test fails, ``roll_back`` brings it back to the version before.

    Returns ``service_id``, ``model_set_id``, ``model_id``, ``previous_model_id``, ``url``, ``endpoint``,
    ``status``, ``answer`` (of the smoke test, shortened) and ``console_url``; without ``wait_for_completion``
    only the ids. The ids are XComs as soon as they are known.

    The smoke test calls the service with the connection's ``api_key``; without one, with a short-lived token
    that is made with the access key.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/kmm2wd9z1 and https://cloud.baidu.com/doc/qianfan-api/s/Emwbl485l
    """

    action = "service.CreateService"
    modify_action = "service.ModifyService"
    custom_operator_name = "Deploy"
    kind_path = SERVICE
    trigger_path = SERVICE_TRIGGER
    operator_extra_links = links.SERVICE
