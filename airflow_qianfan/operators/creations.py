"""How each kind of object is created, and found again."""

from __future__ import annotations

from collections.abc import Collection
from itertools import islice
from typing import TYPE_CHECKING

from airflow_qianfan.exceptions import (
    QianfanAmbiguousCreateError,
    QianfanNotFoundError,
    QianfanRequestError,
)
from airflow_qianfan.operators.durable import Creation, Origin

if TYPE_CHECKING:
    from airflow_qianfan.api.actions.finetuning import (
        CreateFineTuningJob,
        CreateFineTuningTask,
        FineTuningTaskStatus,
    )
    from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet
    from airflow_qianfan.hooks.qianfan import QianfanHook

MAX_MODELS_LOOKED_AT = 20
"""How many versions of a model set to search for a mark where nothing tells which are new."""


class JobCreation(Creation):
    """A fine-tuning job, found by its unique name.

    :param request: the Create.
    """

    key = "qianfan_job"
    has_unique_name = True

    def __init__(self, hook: QianfanHook, origin: Origin, request: CreateFineTuningJob) -> None:
        super().__init__(hook, origin)
        self.request = request

    @property
    def what(self) -> str:
        """Return the job in words."""
        return f"fine-tuning job {self.request.name}"

    def create(self) -> str:
        """Send the Create."""
        return self.hook.call(self.request).job_id

    def existing(self) -> list[str]:
        """Return nothing: the name alone tells."""
        return []

    def find(self, before: Collection[str] | None) -> list[str]:
        """Return the job with our name, where the name or its description proves that it is ours."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningJobs

        request = DescribeFineTuningJobs(
            model=self.request.model, train_mode=self.request.train_mode, max_keys=100
        )
        return [
            job.job_id
            for job in self.hook.iterate(request)
            if job.name == self.request.name
            and (job.name == self.origin.name or self.origin.marker in (job.description or ""))
        ]

    def is_usable(self, created_id: str) -> bool:
        """Return True where the job exists."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTasks

        self.hook.call(DescribeFineTuningTasks(job_id=created_id, max_keys=1))
        return True


class TaskCreation(Creation):
    """A training. It has no name: it is the one that its job did not have before.

    :param request: the Create.
    :param owns_job: whether the job is used by this origin only.
    """

    key = "qianfan_task"

    def __init__(
        self, hook: QianfanHook, origin: Origin, request: CreateFineTuningTask, *, owns_job: bool = False
    ) -> None:
        super().__init__(hook, origin)
        self.request = request
        self.owns_job = owns_job

    @property
    def what(self) -> str:
        """Return the task in words."""
        return f"fine-tuning task of job {self.request.job_id}"

    def create(self) -> str:
        """Send the Create."""
        return self.hook.call(self.request).task_id

    def existing(self) -> list[str]:
        """Return the tasks of the job."""
        return [task_id for task_id, _ in self._tasks()]

    def find(self, before: Collection[str] | None) -> list[str]:
        """Return the tasks that are new and were not stopped, or else all that run or are done.

        :raises QianfanAmbiguousCreateError: there are such tasks, but nothing tells whose they are.
        """
        from airflow_qianfan.api.actions.finetuning import FineTuningTaskStatus

        if before is not None:
            stopped = FineTuningTaskStatus.STOPPED
            return [
                task_id
                for task_id, status in self._tasks()
                if task_id not in before and status is not stopped
            ]
        found = [task_id for task_id, status in self._tasks() if _is_usable(status)]
        if found and not self.owns_job:
            raise QianfanAmbiguousCreateError(
                f"an earlier attempt may have created {' or '.join(found)}; Airflow remembers nothing of it"
            )
        return found

    def is_usable(self, created_id: str) -> bool:
        """Return whether the training runs, or is done."""
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTask

        return _is_usable(self.hook.call(DescribeFineTuningTask(task_id=created_id)).status)

    def _tasks(self) -> list[tuple[str, FineTuningTaskStatus]]:
        from airflow_qianfan.api.actions.finetuning import DescribeFineTuningTasks

        tasks = self.hook.iterate(DescribeFineTuningTasks(job_id=self.request.job_id, max_keys=100))
        return [(task.task_id, task.status) for task in tasks]


def _is_usable(status: FineTuningTaskStatus) -> bool:
    from airflow_qianfan.api.actions.finetuning import FineTuningTaskStatus

    return status is FineTuningTaskStatus.DONE or not status.is_terminal


class ModelSetCreation(Creation):
    """A model set, found by its unique name.

    :param request: the Create.
    """

    key = "qianfan_model_set"
    has_unique_name = True

    def __init__(self, hook: QianfanHook, origin: Origin, request: CreateCustomModelSet) -> None:
        super().__init__(hook, origin)
        self.request = request

    @property
    def what(self) -> str:
        """Return the model set in words."""
        return f"model set {self.request.model_set_name}"

    def create(self) -> str:
        """Send the Create."""
        return self.hook.call(self.request).model_set_id

    def existing(self) -> list[str]:
        """Return the model set that has the name already, if there is one."""
        try:
            return [self.look_up()]
        except (QianfanNotFoundError, QianfanRequestError):
            # Under which code the service says that there is none is not documented; a Create tells for sure.
            return []

    def look_up(self) -> str:
        """Return the id of the model set that has the name.

        :raises QianfanNotFoundError: there is none.
        """
        from airflow_qianfan.api.actions.model import DescribeModelSet

        return self.hook.call(DescribeModelSet(model_set_name=self.request.model_set_name)).model_set_id

    def find(self, before: Collection[str] | None) -> list[str]:
        """Return the model set with the name, unless it was there before."""
        if before is None and self.request.model_set_name != self.origin.name:
            return []
        return [model_set_id for model_set_id in self.existing() if model_set_id not in (before or ())]

    def is_usable(self, created_id: str) -> bool:
        """Return True where the model set exists."""
        from airflow_qianfan.api.actions.model import DescribeModelSet

        self.hook.call(DescribeModelSet(model_set_id=created_id))
        return True


class ModelCreation(Creation):
    """A model version: one that its model set did not have before, with our mark in its description.

    :param request: the Create.
    """

    key = "qianfan_model"

    def __init__(self, hook: QianfanHook, origin: Origin, request: CreateCustomModel) -> None:
        super().__init__(hook, origin)
        self.request = request

    @property
    def what(self) -> str:
        """Return the version in words."""
        return f"model version in model set {self.request.model_set_id}"

    def create(self) -> str:
        """Send the Create."""
        return self.hook.call(self.request).model_id

    def existing(self) -> list[str]:
        """Return the versions of the model set."""
        from airflow_qianfan.api.actions.model import DescribeModelSet

        return self.hook.call(DescribeModelSet(model_set_id=self.request.model_set_id)).model_ids

    def find(self, before: Collection[str] | None) -> list[str]:
        """Return the versions with our mark that are new, or else have not failed."""
        from airflow_qianfan.api.actions.model import DescribeModel, ModelStatus

        new = (model_id for model_id in self.existing() if model_id not in (before or ()))
        marked, unmarked = [], []
        for model_id in islice(new, MAX_MODELS_LOOKED_AT if before is None else None):
            model = self.hook.call(DescribeModel(model_id=model_id))
            if before is None and model.status is ModelStatus.FAIL:
                continue
            if self.origin.marker in (model.description or ""):
                marked.append(model_id)
            elif before is not None and model.description in (None, self.request.description):
                # Without a mark only the time at which the version appeared is left.
                unmarked.append(model_id)
        return marked or unmarked

    def is_usable(self, created_id: str) -> bool:
        """Return whether the version is Ready, or on its way."""
        from airflow_qianfan.api.actions.model import DescribeModel, ModelStatus

        return self.hook.call(DescribeModel(model_id=created_id)).status is not ModelStatus.FAIL
