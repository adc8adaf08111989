"""Fine-tuning jobs (作业), the containers of trainings."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import AliasChoices, Field

from airflow_qianfan.api.actions.base import (
    Action,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
)
from airflow_qianfan.api.actions.values import Date
from airflow_qianfan.api.objects import Recognition, RemoteObject

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

ROUTE = "/v2/finetuning"


class FineTuningJob(RemoteObject):
    """A job as a list shows it. It has no state of its own; its tasks have."""

    noun: ClassVar[str] = "fine-tuning job"
    id_name: ClassVar[str] = "fine_tuning_job_id"
    id_member: ClassVar[str] = "job_id"
    record_key: ClassVar[str] = "qianfan_job"
    recognised_by: ClassVar[Recognition] = "name"

    job_id: str
    name: str | None = None
    description: str | None = None
    model: str | None = None
    train_mode: str | None = None
    create_time: Date = Field(default=None, validation_alias=AliasChoices("createTime", "createDate"))

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "fine_tuning_job_id": self.job_id,
            "name": self.name,
            "description": self.description,
            "model": self.model,
            "train_mode": self.train_mode,
            "create_time": self.create_time,
        }

    @classmethod
    def describe(cls, object_id: str) -> Action[Any]:
        """Return a request that fails where the job does not exist: there is none that describes a job."""
        from airflow_qianfan.api.actions.finetuning.task import DescribeFineTuningTasks

        return DescribeFineTuningTasks(job_id=object_id, max_keys=1)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return all jobs: one of an earlier request may have another model or mode."""
        return client.iterate(DescribeFineTuningJobs(max_keys=100))


class CreateFineTuningJobResult(Result):
    """The new job."""

    job_id: RequiredText


class CreateFineTuningJob(Request, Action[CreateFineTuningJobResult]):
    """Create a job, the container of training tasks. https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y

    :param name: unique name, 2 to 20 characters.
    :param model: base model, such as ``ERNIE-Speed-8K``.
    :param train_mode: ``SFT``, ``PostPretrain``, ``DPO``, ``KTO`` …
    :param description: at most 500 characters.
    """

    route: ClassVar[str] = ROUTE

    name: str = Field(min_length=2, max_length=20)
    model: RequiredText
    train_mode: RequiredText
    description: str | None = Field(default=None, max_length=500)


class FineTuningJobPage(Page):
    """One page of jobs."""

    id_member: ClassVar[str] = "job_id"
    job_list: RowList[FineTuningJob] = Field(default_factory=list)

    @property
    def rows(self) -> list[FineTuningJob]:
        """The jobs of this page."""
        return self.job_list


class DescribeFineTuningJobs(PagedRequest, Action[FineTuningJobPage]):
    """List the jobs. https://cloud.baidu.com/doc/qianfan-api/s/nmo1a7p4y

    :param train_mode: only jobs of this mode.
    :param model: only jobs of this base model.
    """

    route: ClassVar[str] = ROUTE

    train_mode: str | None = None
    model: str | None = None


class DeleteFineTuningJob(Request, Action[bool]):
    """Delete a job. https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Im3gxxr1l

    :param job_id: the job, ``job-…``.
    """

    route: ClassVar[str] = ROUTE

    job_id: RequiredText
