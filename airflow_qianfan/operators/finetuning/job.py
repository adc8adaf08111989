"""One operator for each Action of fine-tuning jobs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_qianfan.operators.base import QianfanListOperator, QianfanOperator, QianfanRemovalOperator
from airflow_qianfan.operators.creations import JobCreation
from airflow_qianfan.operators.durable import Origin, QianfanCreateOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class QianfanCreateFineTuningJobOperator(QianfanCreateOperator):
    """Create a job (CreateFineTuningJob). Returns ``fine_tuning_job_id`` and ``name``.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y

    :param model: base model, such as ``ERNIE-Speed-8K``. (templated)
    :param train_mode: ``SFT``, ``PostPretrain``, ``DPO``, ``KTO`` … (templated)
    :param name: name, unique in the account, 2 to 20 characters; None makes one from the DAG and its run.
        (templated)
    :param description: at most 500 characters; a mark is added by which the job is found again. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.durable.QianfanCreateOperator`.
    """

    template_fields: Sequence[str] = (
        *QianfanOperator.template_fields,
        "name",
        "model",
        "train_mode",
        "description",
    )

    def __init__(
        self,
        *,
        model: str,
        train_mode: str,
        name: str | None = None,
        description: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.name = name
        self.model = model
        self.train_mode = train_mode
        self.description = description

    def execute(self, context: Context) -> dict[str, Any]:
        """Create the job.

        :raises QianfanAmbiguousCreateError: nobody knows whether it was created.
        """
        from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob

        origin = Origin.of(context, durable=self.durable)
        request = CreateFineTuningJob(
            name=self.name or origin.name,
            model=self.model,
            train_mode=self.train_mode,
            description=origin.describe(self.description, 500),
        )
        job_id = self.submit_or_attach(context, JobCreation(self.hook, origin, request))
        return {"fine_tuning_job_id": job_id, "name": request.name}


class QianfanDescribeFineTuningJobsOperator(QianfanListOperator):
    """List jobs (DescribeFineTuningJobs). Returns a list with ``fine_tuning_job_id``, ``name``,
    ``description``, ``model``, ``train_mode`` and ``create_time`` of each.

    .. seealso::
        https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y

    :param train_mode: only jobs of this mode. (templated)
    :param model: only jobs of this base model. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanListOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "train_mode", "model")

    def __init__(self, *, train_mode: str | None = None, model: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.train_mode = train_mode
        self.model = model

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """List the jobs."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs

        filters = {"train_mode": self.train_mode or None, "model": self.model or None}
        return self.rows(DescribeFineTuningJobs(**filters, **self.paging()))


class QianfanDeleteFineTuningJobOperator(QianfanRemovalOperator):
    """Delete a job (DeleteFineTuningJob). Returns ``fine_tuning_job_id`` and ``deleted``.

    .. seealso::
        https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Im3gxxr1l

    :param fine_tuning_job_id: the job, ``job-…``. (templated)
    :param kwargs: see :class:`airflow_qianfan.operators.base.QianfanRemovalOperator`.
    """

    template_fields: Sequence[str] = (*QianfanOperator.template_fields, "fine_tuning_job_id")

    def __init__(self, *, fine_tuning_job_id: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.fine_tuning_job_id = fine_tuning_job_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Delete the job.

        :raises QianfanNotFoundError: there is none, and ``if_missing`` is ``fail``.
        """
        from airflow_qianfan.api.actions.finetuning import DeleteFineTuningJob, DescribeFineTuningTasks

        job_id = self.fine_tuning_job_id
        deleted = self.delete(DeleteFineTuningJob(job_id=job_id), DescribeFineTuningTasks(job_id=job_id))
        return {"fine_tuning_job_id": job_id, "deleted": deleted}
