"""One operator for each Action of compute units, the resources on which services can be deployed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan.arguments import member, option
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.stop import QianfanStopOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

COMPUTE_UNIT = "service.ComputeUnit"


class QianfanPurchaseComputeUnitOperator(QianfanWaitingOperator):
    """Buy compute units (PurchaseComputeUnit). This costs money. Returns ``compute_unit_id``.

    With ``wait_for_completion`` it waits until they run, and returns what
    :class:`QianfanDescribeComputeUnitOperator` does.

    It is bought once for each run of this task. No list shows compute units: where nobody knows whether a
    purchase took effect the task fails, and buys nothing more until somebody has looked in the console.
    A clear attaches to a unit that is still there, unless ``on_clear`` is ``restart``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Hmo6wqf7i
    """

    action = "service.PurchaseComputeUnit"
    kind_path = COMPUTE_UNIT
    trigger_path = "compute_unit.QianfanComputeUnitTrigger"

    compute_unit_count: int | str = member("how many.")
    compute_unit_config: Mapping[str, Any] | str = member(
        "``region`` (``bj``, ``bd``) and ``type`` (``cpu``, ``gpu-1`` to ``gpu-6``).", json=True
    )
    billing: Mapping[str, Any] | str = member(
        "``paymentTiming`` (``Prepaid``, ``Postpaid``), ``reservation``, ``releaseTime``.", json=True
    )
    wait_for_completion: bool = option("wait until the units run.", default=False)


class QianfanDescribeComputeUnitOperator(QianfanRequestOperator):
    """Describe a compute unit (DescribeComputeUnit). Returns ``compute_unit_id``, ``status``, ``status_text``
    (the service's own word), ``region``, ``type`` and ``services``, a list as the service sends it.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/Gm4ta1xx9
    """

    action = "service.DescribeComputeUnit"

    compute_unit_id: str = member("the unit, ``unit-…``.", name="instance_id")


class QianfanReleaseComputeUnitOperator(QianfanStopOperator):
    """Give a compute unit back (ReleaseComputeUnit). Returns ``compute_unit_id``, ``status`` and
    ``status_text``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/wmo6wtedv
    """

    action = "service.ReleaseComputeUnit"
    kind_path = COMPUTE_UNIT

    compute_unit_id: str = member("the unit, ``unit-…``.", name="instance_id")


class QianfanAutoReleaseComputeUnitOperator(QianfanRequestOperator):
    """Give a compute unit back later (AutoReleaseComputeUnit). Returns ``compute_unit_id`` and
    ``release_time``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/zmo6w9m4j
    """

    action = "service.AutoReleaseComputeUnit"

    compute_unit_id: str = member("the unit, ``unit-…``.", name="instance_id")
    release_time: str | None = member(
        "when, as in RFC 3339 or ``YYYY-MM-DD hh:mm:ss``; None takes an earlier wish back.", default=None
    )

    def run_action(self, context: Context) -> dict[str, Any]:
        """Call the Action."""
        request = self.make_request()
        self.hook.call(request)
        return {"compute_unit_id": request.instance_id, "release_time": request.release_time}
