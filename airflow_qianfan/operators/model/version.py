"""Operators of models, which are the versions of model sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from airflow_qianfan import links
from airflow_qianfan.arguments import is_text, member, option, templated
from airflow_qianfan.exceptions import QianfanValidationError
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.publish import QianfanPublishingOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

MODEL = "model.Model"


class QianfanCreateCustomModelOperator(QianfanPublishingOperator, QianfanWaitingOperator):
    """Publish a training, or import files, as a new model version (CreateCustomModel).

    One run of this task publishes exactly one version, whatever crashes. Returns ``model_id`` and
    ``model_set_id``. The version is not Ready yet: ``wait_for_completion`` or ``QianfanModelSensor`` waits
    for it, and then ``model_name``, ``status``, ``status_text`` (the service's own word), ``model``,
    ``description``, ``is_support_deploy`` and ``console_url`` are returned, too.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Mmnijpuh3
    """

    action = "model.CreateCustomModel"
    custom_operator_name = "Publish model version"
    kind_path = MODEL
    trigger_path = "model.QianfanModelTrigger"
    operator_extra_links = links.MODEL
    asset_collection = "model-sets"

    model_set_id: str = member("the model set that gets the version, ``am-…``; it must exist.")
    fine_tuning_task_id: str | None = templated(
        "the training to publish, ``task-…``; short for ``train_meta``.", default=None
    )
    checkpoint_step: int | str | None = templated(
        "its checkpoint; None lets the service choose.", default=None
    )
    train_meta: Mapping[str, Any] | str | None = member(
        "the training, as the page describes it.", default=None, json=True
    )
    import_meta: Mapping[str, Any] | str | None = member(
        "the files to import, as the page describes them: ``bucket``, ``objectPath``, ``modelFormat``, "
        "``modelApplicationType``, ``chatConf`` or ``customSpec``, ``advancedSettings`` …",
        default=None,
        json=True,
    )
    source_type: Literal["Train", "Import"] | str | None = member(
        "``Train`` or ``Import``; None decides by what is given.", default=None
    )
    description: str | None = member(
        "at most 300 characters; a mark is added by which the version is found again.",
        default=None,
        length=(0, 300),
    )
    resource_config: Mapping[str, Any] | str | None = member(
        'resource pool, ``{"resourceId": "prl-…"}``.', default=None, json=True
    )
    wait_for_completion: bool = option("wait until the version is Ready.", default=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        given = (self.fine_tuning_task_id, self.train_meta, self.checkpoint_step)
        # What a template or another task makes is known when the task runs.
        if all(one is None or isinstance(one, int | Mapping) or is_text(one) for one in given):
            self._train_meta()

    def make_request(self, action: str | None = None, **members: Any) -> Any:
        """Return the request; see :meth:`QianfanRequestOperator.make_request`."""
        train_meta = self._train_meta()
        source_type = self.source_type or ("Train" if train_meta else "Import")
        return super().make_request(action, train_meta=train_meta, source_type=source_type, **members)

    def _train_meta(self) -> Mapping[str, Any] | str | None:
        if self.fine_tuning_task_id and self.train_meta:
            raise QianfanValidationError(
                "give fine_tuning_task_id or train_meta, not both",
                action="CreateCustomModel",
                parameters=("fine_tuning_task_id", "train_meta"),
            )
        if not self.fine_tuning_task_id:
            if self.checkpoint_step not in (None, ""):
                raise QianfanValidationError(
                    "checkpoint_step needs fine_tuning_task_id; train_meta and import_meta do not use it",
                    action="CreateCustomModel",
                    parameters=("checkpoint_step",),
                )
            return self.train_meta or None
        step = None if self.checkpoint_step == "" else self.checkpoint_step
        return {"task_id": self.fine_tuning_task_id, "checkpoint_step": step}

    def published(self, result: dict[str, Any]) -> dict[str, Any]:
        """Return what the asset event tells of the version."""
        train_meta = self.make_request().train_meta
        return {
            "model_set_id": result.get("model_set_id") or self.model_set_id,
            "model_id": result["model_id"],
            "state": result.get("status"),
            **self.metrics_of(train_meta and train_meta.task_id),
        }


class QianfanDescribeModelOperator(QianfanRequestOperator):
    """Describe a model version (DescribeModel), in whatever state it is.

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``status_text`` (the service's own
    word), ``model``, ``description``, ``is_support_deploy`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64
    """

    action = "model.DescribeModel"
    operator_extra_links = links.MODEL

    model_id: str = member("the version, ``amv-…``.")


class QianfanDeleteModelOperator(QianfanDeleteOperator):
    """Delete a model version (DeleteModel). Returns ``model_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/hlxeg1tee
    """

    action = "model.DeleteModel"
    kind_path = MODEL

    model_id: str = member("the version, ``amv-…``.")
