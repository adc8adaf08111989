"""One operator for each Action of model sets and models, which are their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.arguments import member, option, templated
from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanRequestError,
    QianfanValidationError,
)
from airflow_qianfan.links import QianfanModelLink
from airflow_qianfan.operators.base.create import QianfanCreateOperator
from airflow_qianfan.operators.base.operator import QianfanRequestOperator
from airflow_qianfan.operators.base.remove import QianfanDeleteOperator
from airflow_qianfan.operators.base.wait import QianfanWaitingOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

MODEL_SET = "model.ModelSet"
MODEL = "model.Model"


class QianfanCreateCustomModelSetOperator(QianfanCreateOperator):
    """Create a model set (CreateCustomModelSet). Returns ``model_set_id`` and ``model_set_name``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Pmnij91ff
    """

    action = "model.CreateCustomModelSet"
    custom_operator_name = "Create model set"
    kind_path = MODEL_SET

    model_set_name: str | None = member("unique name; None makes one from the DAG and its run.", default=None)
    model_type: str = member(
        "``Text2Text``, ``Text2Image``, ``Embedding``, ``ImageUnderstanding`` …", default="Text2Text"
    )
    labels: Sequence[str] | str | None = member(
        "labels of your own, as a list or as JSON text.", default=None, json=True
    )
    if_exists: Literal["fail", "use"] = option(
        "``fail`` where another model set has the name, or ``use`` that one.", default="fail"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.if_exists not in ("fail", "use"):
            raise ValueError(f"if_exists must be 'fail' or 'use', not {self.if_exists!r}")

    def run_action(self, context: Context) -> dict[str, Any]:
        """Create the model set.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        if self.if_exists == "fail":
            return super().run_action(context)
        submission = self.submission(context, self.kind, self.build)
        found = submission.creation.same_name() if self.model_set_name else []
        is_used = bool(found)
        try:
            model_set_id: str | None = found[0] if found else submission.submit()
        except (QianfanRequestError, QianfanAlreadyExistsError):
            from airflow_qianfan.operators.base.lookup import find_by_name

            # Somebody else may have been faster, or the look-up above was stale.
            model_set_id = find_by_name(submission.creation)
            if model_set_id is None:
                raise
            is_used = True
        if is_used:
            from airflow_qianfan.metrics import count_attached

            count_attached(self.kind, "name")
        self.deliver(context)
        return self.created_output(submission.creation, str(model_set_id))


class QianfanDescribeModelSetOperator(QianfanRequestOperator):
    """Describe a model set (DescribeModelSet), found by id or by name.

    Returns ``model_set_id``, ``model_set_name``, ``model_type``, ``labels`` and ``model_ids``, newest first.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Rmnimjl8h
    """

    action = "model.DescribeModelSet"

    model_set_id: str | None = member("the model set, ``am-…``.", default=None)
    model_set_name: str | None = member("its name; give one of the two.", default=None)


class QianfanCreateCustomModelOperator(QianfanWaitingOperator):
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
    operator_extra_links = (QianfanModelLink(),)

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
    source_type: str | None = member("``Train`` or ``Import``; None decides by what is given.", default=None)
    description: str | None = member(
        "at most 300 characters; a mark is added by which the version is found again.",
        default=None,
        length=(0, 300),
    )
    resource_config: Mapping[str, Any] | str | None = member(
        'resource pool, ``{"resourceId": "prl-…"}``.', default=None, json=True
    )
    wait_for_completion: bool = option("wait until the version is Ready.", default=False)

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


class QianfanDescribeModelOperator(QianfanRequestOperator):
    """Describe a model version (DescribeModel), in whatever state it is.

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``status_text`` (the service's own
    word), ``model``, ``description``, ``is_support_deploy`` and ``console_url``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64
    """

    action = "model.DescribeModel"

    model_id: str = member("the version, ``amv-…``.")


class QianfanDeleteModelOperator(QianfanDeleteOperator):
    """Delete a model version (DeleteModel). Returns ``model_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/hlxeg1tee
    """

    action = "model.DeleteModel"
    kind_path = MODEL

    model_id: str = member("the version, ``amv-…``.")
