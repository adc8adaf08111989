"""One operator for each Action of model sets and models, which are their versions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.exceptions import (
    QianfanAlreadyExistsError,
    QianfanNotFoundError,
    QianfanRequestError,
    QianfanValidationError,
)
from airflow_qianfan.links import QianfanModelLink
from airflow_qianfan.operators.base import QianfanOperator, QianfanRemovalOperator
from airflow_qianfan.operators.creations import ModelCreation, ModelSetCreation
from airflow_qianfan.operators.durable import Origin, QianfanCreateOperator
from airflow_qianfan.operators.waiting import QianfanWaitingOperator
from airflow_qianfan.triggers.model import QianfanModelTrigger

if TYPE_CHECKING:
    from airflow.sdk import Context

_LINK = QianfanModelLink()


class QianfanCreateCustomModelSetOperator(QianfanCreateOperator):
    """Create a model set (CreateCustomModelSet). Returns ``model_set_id`` and ``model_set_name``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Pmnij91ff

    :param model_set_name: unique name; None makes one from the DAG and its run. (templated)
    :param model_type: ``Text2Text``, ``Text2Image``, ``Embedding``, ``ImageUnderstanding`` … (templated)
    :param labels: labels of your own, as a list or as JSON text. (templated)
    :param if_exists: ``fail`` where another model set has the name, or ``use`` that one.
    :param kwargs: see :class:`airflow_qianfan.operators.durable.QianfanCreateOperator`.
    """

    template_fields: Sequence[str] = (
        *QianfanOperator.template_fields,
        "model_set_name",
        "model_type",
        "labels",
    )

    def __init__(
        self,
        *,
        model_set_name: str | None = None,
        model_type: str = "Text2Text",
        labels: Sequence[str] | str | None = None,
        if_exists: Literal["fail", "use"] = "fail",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if if_exists not in ("fail", "use"):
            raise ValueError(f"if_exists must be 'fail' or 'use', not {if_exists!r}")
        self.if_exists = if_exists
        self.model_set_name = model_set_name
        self.model_type = model_type
        self.labels = labels

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the model set.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        from airflow_qianfan.api.actions.model import CreateCustomModelSet

        origin = Origin.of(context, durable=self.durable)
        members: dict[str, Any] = {
            "model_set_name": self.model_set_name or origin.name,
            "model_type": self.model_type,
            "labels": self.labels,
        }
        request = CreateCustomModelSet(**members)
        creation = ModelSetCreation(self.hook, origin, request)
        existing = creation.existing() if self.if_exists == "use" else []
        try:
            model_set_id = existing[0] if existing else self.submit_or_attach(context, creation)
        except (QianfanRequestError, QianfanAlreadyExistsError) as refusal:
            if self.if_exists != "use":
                raise
            # Somebody else may have been faster, or the look above lagged behind.
            try:
                model_set_id = self._read(creation.look_up)
            except QianfanNotFoundError:
                raise refusal from None
        return {"model_set_id": model_set_id, "model_set_name": request.model_set_name}


class QianfanDescribeModelSetOperator(QianfanOperator):
    """Describe a model set (DescribeModelSet), found by id or by name.

    Returns ``model_set_id``, ``model_set_name``, ``model_type``, ``labels`` and ``model_ids``, newest first.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Rmnimjl8h

    :param model_set_id: the model set, ``am-…``. (templated)
    :param model_set_name: its name; give one of the two. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "model_set_id", "model_set_name")

    def __init__(
        self, *, model_set_id: str | None = None, model_set_name: str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model_set_id = model_set_id
        self.model_set_name = model_set_name

    def execute(self, context: Context) -> dict[str, Any]:
        """Describe the model set."""
        from airflow_qianfan.api.actions.model import DescribeModelSet

        names = {"model_set_id": self.model_set_id or None, "model_set_name": self.model_set_name or None}
        return self.hook.call(DescribeModelSet(**names)).output()


class QianfanCreateCustomModelOperator(QianfanWaitingOperator):
    """Publish a training, or import files, as a new model version (CreateCustomModel).

    One run of this task publishes exactly one version, whatever crashes. Returns ``model_id`` and
    ``model_set_id``. The version is not Ready yet: ``wait_for_completion`` or ``QianfanModelSensor`` waits
    for it, and then ``model_name``, ``status``, ``model``, ``description``, ``is_support_deploy`` and
    ``console_url`` are returned, too.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Mmnijpuh3

    :param model_set_id: the model set that gets the version, ``am-…``. (templated)
    :param fine_tuning_task_id: the training to publish, ``task-…``; short for ``train_meta``. (templated)
    :param checkpoint_step: its checkpoint; None lets the service choose. (templated)
    :param train_meta: the training, as the page describes it. (templated)
    :param import_meta: the files to import, as the page describes them: ``bucket``, ``objectPath``,
        ``modelFormat``, ``modelApplicationType``, ``chatConf`` or ``customSpec``, ``advancedSettings`` …
        (templated)
    :param source_type: ``Train`` or ``Import``; None decides by what is given.
    :param description: at most 300 characters; a mark is added by which the version is found again.
        (templated)
    :param resource_config: resource pool, ``{"resourceId": "prl-…"}``. (templated)
    :param wait_for_completion: wait until the version is Ready.
    :param kwargs: see :class:`airflow_qianfan.operators.waiting.QianfanWaitingOperator`.
    """

    template_fields: Sequence[str] = (
        *QianfanOperator.template_fields,
        "model_set_id",
        "fine_tuning_task_id",
        "checkpoint_step",
        "train_meta",
        "import_meta",
        "description",
        "resource_config",
    )
    template_fields_renderers = {"train_meta": "json", "import_meta": "json", "resource_config": "json"}
    operator_extra_links = (_LINK,)
    creation_keys = (ModelCreation.key,)

    def __init__(
        self,
        *,
        model_set_id: str,
        fine_tuning_task_id: str | None = None,
        checkpoint_step: int | str | None = None,
        train_meta: Mapping[str, Any] | str | None = None,
        import_meta: Mapping[str, Any] | str | None = None,
        source_type: str | None = None,
        description: str | None = None,
        resource_config: Mapping[str, Any] | str | None = None,
        wait_for_completion: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(wait_for_completion=wait_for_completion, **kwargs)
        self.model_set_id = model_set_id
        self.fine_tuning_task_id = fine_tuning_task_id
        self.checkpoint_step = checkpoint_step
        self.train_meta = train_meta
        self.import_meta = import_meta
        self.source_type = source_type
        self.description = description
        self.resource_config = resource_config
        self.model_id: str | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the version.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        from airflow_qianfan.api.actions.model import MODEL_LIST_URL, CreateCustomModel

        origin = Origin.of(context, durable=self.durable)
        train_meta = self._train_meta()
        members: dict[str, Any] = {
            "model_set_id": self.model_set_id,
            "source_type": self.source_type or ("Train" if train_meta else "Import"),
            "train_meta": train_meta,
            "import_meta": self.import_meta,
            "description": origin.describe(self.description, 300),
            "resource_config": self.resource_config,
        }
        creation = ModelCreation(self.hook, origin, CreateCustomModel(**members))
        self.model_id = self.submit_or_attach(context, creation)
        self.console_url = MODEL_LIST_URL
        ti: Any = context["ti"]
        ti.xcom_push(key="model_id", value=self.model_id)
        ti.xcom_push(key=_LINK.xcom_key, value=self.console_url)
        if self.wait_for_completion:
            return self.wait(context)
        return {"model_id": self.model_id, "model_set_id": self.model_set_id}

    def make_trigger(self, **kwargs: Any) -> QianfanModelTrigger:
        """Return the trigger that looks at the version."""
        return QianfanModelTrigger(
            model_id=self.model_id or "",
            qianfan_conn_id=self.qianfan_conn_id,
            poll_interval=self.poll_interval,
            max_poll_interval=self.max_poll_interval,
            max_poll_failures=self.max_poll_failures,
            **kwargs,
        )

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
            return self.train_meta
        return {"task_id": self.fine_tuning_task_id, "checkpoint_step": self.checkpoint_step}


class QianfanDescribeModelOperator(QianfanOperator):
    """Describe a model version (DescribeModel), in whatever state it is.

    Returns ``model_id``, ``model_set_id``, ``model_name``, ``status``, ``model``, ``description`` and
    ``is_support_deploy``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64

    :param model_id: the version, ``amv-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "model_id")

    def __init__(self, *, model_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_id = model_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Describe the version."""
        from airflow_qianfan.api.actions.model import DescribeModel

        return self.hook.call(DescribeModel(model_id=self.model_id)).output()


class QianfanDeleteModelOperator(QianfanRemovalOperator):
    """Delete a model version (DeleteModel). Returns ``model_id`` and ``deleted``.

    .. seealso::
        https://cloud.baidu.com/doc/WENXINWORKSHOP/s/hlxeg1tee

    :param model_id: the version, ``amv-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanRemovalOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "model_id")

    def __init__(self, *, model_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model_id = model_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the version.

        :raises QianfanNotFoundError: there is none, and ``if_missing`` is ``fail``.
        """
        from airflow_qianfan.api.actions.model import DeleteModel, DescribeModel

        deleted = self.delete(DeleteModel(model_id=self.model_id), DescribeModel(model_id=self.model_id))
        return {"model_id": self.model_id, "deleted": deleted}
