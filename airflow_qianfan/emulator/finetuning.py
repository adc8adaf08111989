"""The actions of ``/v2/finetuning``: each function answers the action it is named after."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from airflow_qianfan.api.signing import canonical_time
from airflow_qianfan.emulator.actions import Action, Body, Call, Page, Text, page, parse
from airflow_qianfan.emulator.choices import ApiError, bad_parameter
from airflow_qianfan.emulator.records import Job, Task, finish_date, new_id
from airflow_qianfan.emulator.supported import SUPPORTED_MODELS, is_text_to_image


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


def create_job(call: Call) -> Any:
    request = parse(CreateJob, call.body)
    if any(job.name == request.name for job in call.store.jobs.values()):
        raise ApiError(call.choices.duplicate_name, "A job with this name exists.")
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


def describe_jobs(call: Call) -> Any:
    request = parse(ListJobs, call.body)
    jobs = [
        job
        for job in call.seen(call.store.jobs)
        if request.model in (None, job.model) and request.train_mode in (None, job.train_mode)
    ]
    chosen, info = page(jobs, request, call.choices.newest_first)
    return {"jobList": [job_row(job) for job in chosen], "pageInfo": info}


def job_row(job: Job) -> dict[str, Any]:
    """Return a job as a list shows it."""
    return {
        "jobId": job.id,
        "name": job.name,
        "description": job.description,
        "model": job.model,
        "trainMode": job.train_mode,
        "createTime": canonical_time(job.created),
    }


def delete_job(call: Call) -> Any:
    job = call.find(call.store.jobs, "jobId", parse(JobId, call.body).job_id)
    tasks = [task for task in call.store.tasks.values() if task.job_id == job.id]
    running = any(task.end(call.now) is None for task in tasks)
    if running and call.choices.delete_job_with_running_tasks == "refuse":
        raise call.wrong_state("A task of the job is still running.")
    for task in tasks:
        call.remove(task)
    call.remove(job)
    call.ids["taskIds"] = [task.id for task in tasks]
    return True


def create_task(call: Call) -> Any:
    request = parse(CreateTask, call.body)
    member = "version_id" if request.dataset_config.source_type == "Platform" else "version_bos_uri"
    if any(getattr(version, member) is None for version in request.dataset_config.versions):
        raise bad_parameter("versionId" if member == "version_id" else "versionBosUri")
    job = call.find(call.store.jobs, "jobId", request.job_id)
    if request.increment_task_id is not None:
        _check_base(call, job, request.increment_task_id, request.increment_checkpoint_step)
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
    base = call.find(call.store.tasks, "incrementTaskId", task_id)
    if base.status(call.now) != "Done":
        raise call.wrong_state("The base task is not done.")
    if call.store.jobs[base.job_id].model != job.model:
        raise bad_parameter("incrementTaskId")
    steps = [checkpoint["step"] for checkpoint in base.checkpoints()]
    if step not in steps and (step is not None or len(steps) > 1):
        raise bad_parameter("incrementCheckpointStep")


def describe_tasks(call: Call) -> Any:
    request = parse(ListTasks, call.body)
    job = call.find(call.store.jobs, "jobId", request.job_id)
    tasks = [task for task in call.seen(call.store.tasks) if task.job_id == job.id]
    chosen, info = page(tasks, request, call.choices.newest_first)
    rows = [task_detail(task, job, call.now) for task in chosen]
    for row in rows:
        del row["vdlLink"]
        if not call.choices.task_list_has_progress:
            row.pop("runProgress", None)
    return {"taskList": rows, "pageInfo": info}


def describe_task(call: Call) -> Any:
    task = call.find(call.store.tasks, "taskId", parse(TaskId, call.body).task_id)
    return task_detail(task, call.store.jobs[task.job_id], call.now)


def task_detail(task: Task, job: Job, now: float) -> dict[str, Any]:
    """Return a task as its detail action shows it at a time."""
    status = task.status(now)
    detail: dict[str, Any] = {
        "taskId": task.id,
        "jobId": job.id,
        "jobName": job.name,
        "jobDescription": job.description,
        "model": job.model,
        "trainMode": job.train_mode,
        "parameterScale": task.parameter_scale,
        "runStatus": status,
        "vdlLink": task.vdl_link(),
        "createDate": canonical_time(task.created),
        "finishDate": finish_date(task, now),
    }
    if status == "Running":
        detail["runProgress"] = task.progress(now)
    if status == "Done":
        detail["metrics"] = task.metrics()
        detail["checkpointList"] = task.checkpoints()
    return detail


def stop_task(call: Call) -> Any:
    task_id = parse(TaskId, call.body).task_id
    if task_id not in call.store.tasks and call.choices.stop_unknown_task == "false":
        call.ids["taskId"] = task_id
        return False
    task = call.find(call.store.tasks, "taskId", task_id)
    if task.end(call.now) is not None:
        if call.choices.stop_finished_task == "error":
            raise call.wrong_state("The task has ended.")
        return call.choices.stop_finished_task == "true"
    if task.stopped is None:
        task.stopped = call.now + call.choices.stop_delay_seconds
        call.put(task)
    return True


def delete_task(call: Call) -> Any:
    task = call.find(call.store.tasks, "taskId", parse(TaskId, call.body).task_id)
    if task.end(call.now) is None and call.choices.delete_running_task == "refuse":
        raise call.wrong_state("The task is still running.")
    call.remove(task)
    return True


def describe_support_models(call: Call) -> Any:
    return SUPPORTED_MODELS


ACTIONS: dict[str, Action] = {
    "CreateFineTuningJob": create_job,
    "DescribeFineTuningJobs": describe_jobs,
    "DeleteFineTuningJob": delete_job,
    "CreateFineTuningTask": create_task,
    "DescribeFineTuningTasks": describe_tasks,
    "DescribeFineTuningTask": describe_task,
    "StopFineTuningTask": stop_task,
    "DeleteFineTuningTask": delete_task,
    "DescribeFineTuningSupportModels": describe_support_models,
}
