"""The Actions of ``/v2/finetuning``."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from airflow_qianfan.emulator.actions import Body, Call, Page, Route, Text, page, parse
from airflow_qianfan.emulator.data import DatasetVersion as KnownVersion
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.records import new_id
from airflow_qianfan.emulator.strict import check_dataset_version, check_job, check_task
from airflow_qianfan.emulator.supported import SUPPORTED_MODELS, is_text_to_image, with_defects
from airflow_qianfan.emulator.training import Job, Task

ROUTE = Route("/v2/finetuning")


class CreateJob(Body):
    name: str = Field(min_length=2, max_length=20)
    description: str | None = Field(default=None, max_length=500)
    model: Text
    train_mode: Text


class ListJobs(Page):
    model: str | None = None
    train_mode: str | None = None


class JobId(Body):
    job_id: Text


class TaskId(Body):
    task_id: Text


class ListTasks(Page):
    job_id: Text


class DatasetVersion(Body):
    version_id: Text | None = None
    version_bos_uri: Text | None = None
    sampling_rate: float | None = Field(default=None, ge=0.01, le=10)


class Dataset(Body):
    source_type: Literal["Platform", "Bos", "Afs"]
    versions: Annotated[list[DatasetVersion], Field(min_length=1)]
    # The newest page says at most 20, the official SDK's examples go beyond.
    split_ratio: float | None = Field(default=None, ge=0, le=100)


class CreateTask(Body):
    job_id: Text
    parameter_scale: str | None = None
    hyper_parameter_config: dict[str, Any]
    dataset_config: Dataset
    increment_task_id: Text | None = None
    increment_checkpoint_step: int | None = None
    corpus_config: dict[str, Any] | None = None
    custom_model_config: dict[str, Any] | None = Field(default=None, alias="modelConfig")
    resource_config: dict[str, Any] | None = None


@ROUTE.action("CreateFineTuningJob")
def create_job(call: Call) -> Any:
    request = parse(CreateJob, call.body)
    if call.strict:
        check_job(request.model, request.train_mode)
    if any(job.name == request.name for job in call.all(Job)):
        raise call.duplicate("A job with this name exists.")
    job = Job(
        id=new_id("job"),
        name=request.name,
        description=request.description or "",
        model=request.model,
        train_mode=request.train_mode,
        created=call.now,
        request=call.body,
    )
    call.put(job)
    call.ids["jobId"] = job.id
    return {"jobId": job.id}


@ROUTE.action("DescribeFineTuningJobs")
def describe_jobs(call: Call) -> Any:
    request = parse(ListJobs, call.body)
    jobs = [
        job
        for job in call.all(Job)
        if request.model in (None, job.model) and request.train_mode in (None, job.train_mode)
    ]
    chosen, info = page(jobs, request, call.assumptions.newest_first)
    return {"jobList": [job.show(call) for job in chosen], "pageInfo": info}


@ROUTE.action("DeleteFineTuningJob")
def delete_job(call: Call) -> Any:
    job = call.find(Job, "jobId", parse(JobId, call.body).job_id)
    tasks = [task for task in call.all(Task) if task.job_id == job.id]
    running = any(task.end(call.now) is None for task in tasks)
    if running and call.assumptions.delete_job_with_running_tasks == "refuse":
        raise call.wrong_state("A task of the job is still running.")
    for task in tasks:
        call.remove(task)
    call.remove(job)
    call.ids["taskIds"] = [task.id for task in tasks]
    return True


@ROUTE.action("CreateFineTuningTask")
def create_task(call: Call) -> Any:
    request = parse(CreateTask, call.body)
    member = "version_id" if request.dataset_config.source_type == "Platform" else "version_bos_uri"
    if any(getattr(version, member) is None for version in request.dataset_config.versions):
        raise bad_parameter("versionId" if member == "version_id" else "versionBosUri")
    job = call.find(Job, "jobId", request.job_id)
    if call.strict:
        check_task(job.model, job.train_mode, request.parameter_scale, request.hyper_parameter_config)
    if request.increment_task_id is not None:
        _check_base(call, job, request.increment_task_id, request.increment_checkpoint_step)
    if request.dataset_config.source_type == "Platform":
        _check_published(call, request.dataset_config.versions)
    task = Task(
        id=new_id("task"),
        job_id=job.id,
        parameter_scale=request.parameter_scale or "",
        created=call.now,
        seconds=call.task_seconds,
        fails="fail" in job.name.lower(),
        text_generation=not is_text_to_image(job.model),
        request=call.body,
    )
    call.put(task)
    call.ids["taskId"] = task.id
    return {"taskId": task.id, "jobId": job.id}


def _check_base(call: Call, job: Job, task_id: str, step: int | None) -> None:
    base = call.find(Task, "incrementTaskId", task_id)
    if base.status(call.now) != "Done":
        raise call.wrong_state("The base task is not done.")
    if base.job(call).model != job.model:
        raise bad_parameter("incrementTaskId")
    steps = [checkpoint["step"] for checkpoint in base.checkpoints()]
    if step not in steps and (step is not None or len(steps) > 1):
        raise bad_parameter("incrementCheckpointStep")


def _check_published(call: Call, versions: list[DatasetVersion]) -> None:
    """Refuse a version that is not published.

    One that was never heard of may be somebody's example, unless the emulator is strict.
    """
    for version in versions:
        version_id = version.version_id or ""
        if call.strict:
            check_dataset_version(call, version_id)
        known = call.get(KnownVersion, version_id)
        if known is not None and known.publish_status(call.now) != "Published":
            raise call.wrong_state(f"The data-set version {known.id} is not published.")


@ROUTE.action("DescribeFineTuningTasks", shows_state=True, shows_progress=True)
def describe_tasks(call: Call) -> Any:
    request = parse(ListTasks, call.body)
    job = call.find(Job, "jobId", request.job_id)
    tasks = [task for task in call.all(Task) if task.job_id == job.id]
    chosen, info = page(tasks, request, call.assumptions.newest_first)
    rows = [task.show(call) for task in chosen]
    for row in rows:
        del row["vdlLink"]
        if not call.assumptions.task_list_has_progress:
            row.pop("runProgress", None)
    return {"taskList": rows, "pageInfo": info}


@ROUTE.action("DescribeFineTuningTask", shows_state=True, shows_progress=True)
def describe_task(call: Call) -> Any:
    task = call.find(Task, "taskId", parse(TaskId, call.body).task_id)
    return task.show(call)


@ROUTE.action("StopFineTuningTask")
def stop_task(call: Call) -> Any:
    task_id = parse(TaskId, call.body).task_id
    if task_id not in call.store.table(Task) and call.assumptions.stop_unknown_task == "false":
        call.ids["taskId"] = task_id
        return False
    task = call.find(Task, "taskId", task_id)
    if task.end(call.now) is not None:
        if call.assumptions.stop_finished_task == "error":
            raise call.wrong_state("The task has ended.")
        return call.assumptions.stop_finished_task == "true"
    if task.stopped is None:
        task.stopped = call.now + call.assumptions.stop_delay_seconds
        call.put(task)
    return True


@ROUTE.action("DeleteFineTuningTask")
def delete_task(call: Call) -> Any:
    task = call.find(Task, "taskId", parse(TaskId, call.body).task_id)
    if task.end(call.now) is None and call.assumptions.delete_running_task == "refuse":
        raise call.wrong_state("The task is still running.")
    call.remove(task)
    return True


@ROUTE.action("DescribeFineTuningSupportModels")
def describe_support_models(call: Call) -> Any:
    return with_defects(SUPPORTED_MODELS) if call.assumptions.support_models_defects else SUPPORTED_MODELS
