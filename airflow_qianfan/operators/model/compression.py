"""Operators of compression: one for each Action, and one that does the whole step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan import links
from airflow_qianfan.arguments import member, option, templated
from airflow_qianfan.exceptions import QianfanValidationError
from airflow_qianfan.operators.base.list import QianfanListOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.publish import QianfanPublishingOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator
from airflow_qianfan.operators.base.stop import QianfanStopOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

COMP_TASK = "model.ModelCompTask"


class _CompressionArguments(QianfanPublishingOperator, QianfanWaitingOperator):
    """What both operators that compress have in common."""

    kind_path = COMP_TASK
    trigger_path = "model.QianfanModelCompTaskTrigger"
    operator_extra_links = links.MODEL
    asset_collection = "model-sets"

    source_model_id: str = member(
        "the version to compress, ``amv-…``; its ``isSupportModelComp`` must be true."
    )
    name: str | None = member("name of the task; None makes one from the DAG and its run.", default=None)
    description: str | None = member(
        "a text of your own; a mark is added by which the task is found again.", default=None
    )

    def published(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the asset event tells of the compressed version, once there is one."""
        if not (model_id := result.get("model_id")):
            return {}
        from airflow_qianfan.api.actions import load
        from airflow_qianfan.operators.base.lookup import read_settled

        request = load("model.DescribeModel")(model_id=model_id)
        version = read_settled(lambda: self.hook.call(request), f"model version {model_id}", self.log)
        return {
            "model_set_id": version.model_set_id,
            "model_id": model_id,
            "state": version.status,
            "source_model_id": result.get("source_model_id") or self.source_model_id,
            "model_comp_task_id": result.get("model_comp_task_id"),
        }


class QianfanCreateModelCompTaskOperator(_CompressionArguments):
    """Compress a model version (CreateModelCompTask).

    Returns ``model_comp_task_id`` and ``source_model_id``. With ``wait_for_completion`` it waits, and returns
    what :class:`QianfanDescribeModelCompTaskOperator` does.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/8mm39ei54
    """

    action = "model.CreateModelCompTask"

    model_set_id: str = member("the model set that gets the compressed version, ``am-…``.")
    config: Mapping[str, Any] | str = member(
        "``strategy``, ``Quantization`` or ``Sparsity``, and for the former ``weight``; passed through.",
        json=True,
    )
    wait_for_completion: bool = option("wait until the task has ended.", default=False)


class QianfanModelCompressionOperator(_CompressionArguments):
    """Compress a model version: check that it can be, create the task, wait, and return the new version.

    One run of this task makes exactly one version, whatever crashes. When a user ends it, or
    ``execution_timeout`` is over, the compression is cancelled.

    Returns ``model_id``, the id of the compressed version, with ``model_comp_task_id``, ``name``, ``status``,
    ``status_text`` (the service's own word), ``failed_reason``, ``source_model_id`` and ``console_url``;
    without ``wait_for_completion`` only ``model_comp_task_id`` and ``source_model_id``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/8mm39ei54
    """

    action = "model.CreateModelCompTask"
    custom_operator_name = "Compress model version"

    strategy: str = templated("``Quantization`` or ``Sparsity``.")
    weight: str | None = templated(
        "``INT8-PTQ``, ``W8A16C16`` or ``W4A16C16``; needed for ``Quantization``.", default=None
    )
    model_set_id: str | None = member(
        "the model set that gets the compressed version, ``am-…``; None takes that of ``source_model_id``.",
        default=None,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._model_set_id: str | None = None

    def submit(self, context: Context) -> dict[str, Any]:
        """Create the task, and return its id.

        :raises QianfanValidationError: the version cannot be compressed; nothing was created.
        """
        # Refuses bad arguments before anything is asked.
        self.make_request(name="not known yet", model_set_id="not known yet")
        from airflow_qianfan.api.actions import load

        source = self.hook.call(load("model.DescribeModel")(model_id=self.source_model_id))
        self._model_set_id = source.model_set_id
        if not self.has_created(context) and source.is_support_model_comp is False and source.state.is_final:
            raise QianfanValidationError(
                f"source_model_id: the service says that model version {self.source_model_id} cannot be "
                "compressed (isSupportModelComp is false).",
                action="CreateModelCompTask",
                parameters=("sourceModelId",),
            )
        return super().submit(context)

    def make_request(self, action: str | None = None, **members: Any) -> Any:
        """Return the request; see :meth:`QianfanRequestOperator.make_request`."""
        given = {"model_set_id": self.model_set_id or self._model_set_id, "config": self._config()}
        return super().make_request(action, **{**given, **members})

    def _config(self) -> dict[str, str]:
        if self.strategy.lower() == "quantization" and not self.weight:
            raise QianfanValidationError(
                "weight: is needed for the strategy Quantization; give INT8-PTQ, W8A16C16 or W4A16C16.",
                action="CreateModelCompTask",
                parameters=("config.weight",),
            )
        return {"strategy": self.strategy, **({"weight": self.weight} if self.weight else {})}


class QianfanDescribeModelCompTasksOperator(QianfanListOperator):
    """List compression tasks (DescribeModelCompTasks). Returns a list of dicts like those of
    :class:`QianfanDescribeModelCompTaskOperator`.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/3mwbl47g5
    """

    action = "model.DescribeModelCompTasks"

    source_model_id: str | None = member("only tasks that compress this version, ``amv-…``.", default=None)


class QianfanDescribeModelCompTaskOperator(QianfanRequestOperator):
    """Describe a compression task (DescribeModelCompTask), in whatever state it is.

    Returns ``model_comp_task_id``, ``name``, ``status``, ``status_text`` (the service's own word),
    ``failed_reason``, ``source_model_id``, ``model_id`` (the compressed version, once it has succeeded) and
    ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Emm4awfhv
    """

    action = "model.DescribeModelCompTask"
    operator_extra_links = links.MODEL

    model_comp_task_id: str = member("the task, ``amva-…``.")


class QianfanCancelModelCompTaskOperator(QianfanStopOperator):
    """Cancel a compression task (CancelModelCompTask).

    Returns ``model_comp_task_id``, ``status`` and ``status_text``. A task that has ended already is left as
    it is: ``status`` tells how it ended. It is None where the task does not exist and ``if_missing`` ignores
    that.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/6mm37ozcf
    """

    action = "model.CancelModelCompTask"
    operator_extra_links = links.MODEL
    kind_path = COMP_TASK

    model_comp_task_id: str = member("the task, ``amva-…``.")


class QianfanDeleteModelCompTaskOperator(QianfanDeleteOperator):
    """Delete a compression task (DeleteModelCompTask); the compressed version stays. Returns
    ``model_comp_task_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmm39unwk
    """

    action = "model.DeleteModelCompTask"
    kind_path = COMP_TASK

    model_comp_task_id: str = member("the task, ``amva-…``.")
