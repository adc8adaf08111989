"""The arguments that describe a training, for the operators that start one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan.operators.base import QianfanOperator
from airflow_qianfan.operators.durable import QianfanCreateOperator

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.finetuning import CreateFineTuningTask

_OBJECTS = ("hyper_parameter_config", "dataset_config", "corpus_config", "model_config", "resource_config")
_TEXTS = ("parameter_scale", "increment_task_id", "increment_checkpoint_step")


class QianfanTrainingOperator(QianfanCreateOperator):
    """Starts a training. All objects may be given as JSON text too, as a template yields it.

    :param hyper_parameter_config: depends on model, train mode and scale; passed through. (templated)
    :param dataset_config: ``sourceType``, ``versions`` and ``splitRatio``. (templated)
    :param parameter_scale: ``FullFineTuning``, ``LoRA`` … (templated)
    :param increment_task_id: task whose result is trained further. (templated)
    :param increment_checkpoint_step: its checkpoint, where it kept several. (templated)
    :param corpus_config: general data that is mixed in; passed through. (templated)
    :param model_config: for jobs of custom models; passed through. (templated)
    :param resource_config: resource pool; passed through. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.durable.QianfanCreateOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, *_OBJECTS, *_TEXTS)
    template_fields_renderers = dict.fromkeys(_OBJECTS, "json")

    def __init__(
        self,
        *,
        hyper_parameter_config: Mapping[str, Any] | str,
        dataset_config: Mapping[str, Any] | str,
        parameter_scale: str | None = None,
        increment_task_id: str | None = None,
        increment_checkpoint_step: int | str | None = None,
        corpus_config: Mapping[str, Any] | str | None = None,
        model_config: Mapping[str, Any] | str | None = None,
        resource_config: Mapping[str, Any] | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.hyper_parameter_config = hyper_parameter_config
        self.dataset_config = dataset_config
        self.parameter_scale = parameter_scale
        self.increment_task_id = increment_task_id
        self.increment_checkpoint_step = increment_checkpoint_step
        self.corpus_config = corpus_config
        self.model_config = model_config
        self.resource_config = resource_config

    def task_request(self, job_id: str) -> CreateFineTuningTask:
        """Return the request that starts the training.

        :param job_id: the job it belongs to.
        :raises QianfanValidationError: an argument breaks a rule of the official page.
        """
        from airflow_qianfan.api.actions.finetuning import CreateFineTuningTask

        members: dict[str, Any] = {
            "job_id": job_id,
            "hyper_parameter_config": self.hyper_parameter_config,
            "dataset_config": self.dataset_config,
            "parameter_scale": self.parameter_scale,
            "increment_task_id": self.increment_task_id,
            "increment_checkpoint_step": self.increment_checkpoint_step,
            "corpus_config": self.corpus_config,
            "model_config_": self.model_config,
            "resource_config": self.resource_config,
        }
        return CreateFineTuningTask(**members)
