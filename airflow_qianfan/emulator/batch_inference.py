"""The Actions of ``/v2/batchinference``, and what they keep."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from airflow_qianfan.api.signing import canonical_time
from airflow_qianfan.emulator.actions import Body, Call, Page, Route, Text, page, parse
from airflow_qianfan.emulator.errors import ApiError, bad_parameter
from airflow_qianfan.emulator.model import Model, ModelSet
from airflow_qianfan.emulator.records import Record, new_id
from airflow_qianfan.emulator.supported import SUPPORTED_MODELS

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

ROUTE = Route("/v2/batchinference")

QUEUING_SHARE = 0.1
FAILING_SHARE = 0.55
WINDOW_SECONDS = 24 * 3600.0


@dataclass(kw_only=True)
class BatchInferenceTask(Record):
    """A batch inference. ``seconds`` is its length from creation to the end.

    :param stop_requested: when it was told to stop.
    :param stopped: when that takes effect.
    :param total_member: what the number of all rows is called.
    """

    kind = "batch_inference_task"
    heading = "Batch inferences"
    columns = ("taskId", "name", "modelId", "runStatus", "progress", "createTime", "finishTime")

    name: str
    seconds: float
    fails: bool
    expires: bool
    total_member: str
    stop_requested: float | None = None
    stopped: float | None = None

    @property
    def total_rows(self) -> int:
        """How many prompts there are: the same number each time."""
        return 50 + hashlib.sha256(self.id.encode()).digest()[0]

    @property
    def natural_end(self) -> float:
        """When it is over, if nobody stops it."""
        if self.expires:
            return self.created + min(self.seconds, WINDOW_SECONDS)
        return self.created + self.seconds * (FAILING_SHARE if self.fails else 1.0)

    def end(self, now: float) -> float | None:
        """When it ended, None while it has not."""
        end = self.natural_end if self.stopped is None else min(self.stopped, self.natural_end)
        return end if now >= end else None

    def status(self, now: float) -> str:
        """Return the ``runStatus`` at a time."""
        end = self.end(now)
        if end is None:
            if self.stop_requested is not None and now >= self.stop_requested:
                return "Stopping"
            return "Queuing" if now - self.created < QUEUING_SHARE * self.seconds else "Running"
        if end < self.natural_end:
            return "Stopped"
        return "Expired" if self.expires else "Failed" if self.fails else "Done"

    def rows(self, now: float) -> int:
        """Return how many rows are done at a time."""
        end = self.end(now)
        if self.status(now) == "Done":
            return self.total_rows
        share = ((now if end is None else end) - self.created) / self.seconds - QUEUING_SHARE
        return int(self.total_rows * min(1.0, max(0.0, share / (1 - QUEUING_SHARE))))

    def show(self, view: View) -> dict[str, Any]:
        status, end, rows = self.status(view.now), self.end(view.now), self.rows(view.now)
        echo = ("description", "endpoint", "modelId", "inputBosUri", "outputBosUri")
        detail: dict[str, Any] = {
            "taskId": self.id,
            "name": self.name,
            **{name: self.request[name] for name in echo if self.request.get(name) is not None},
            "inferenceParams": self.request.get("inferenceParams") or {},
            "runStatus": status,
            "outputDir": hashlib.sha256(self.id.encode()).hexdigest()[:24],
            "progress": rows,
            self.total_member: self.total_rows,
            "searchCounts": 0,
            "searchTokens": 0,
            "source": "batchInference",
            "creator": "emulator",
            "createTime": canonical_time(self.created),
        }
        if end is not None:
            detail["finishTime"] = canonical_time(end)
        if status == "Done":
            detail |= {"inputTokenUsage": 20 * rows, "outputTokenUsage": 100 * rows}
        if status == "Failed":
            detail |= {"errorCode": 500000, "errorReason": "a line of the input is not valid"}
        return detail


class AfsConfig(Body):
    user_name: Text
    password: Text
    input_afs_uri: Text
    output_afs_uri: Text


BosUri = Annotated[str, Field(pattern=r"^bos:/.")]


class CreateTask(Body):
    name: Text
    description: str | None = None
    endpoint: Text | None = None
    model_id: Text | None = None
    inference_params: dict[str, Any] | None = None
    input_bos_uri: BosUri | None = None
    output_bos_uri: BosUri | None = None
    afs_config: AfsConfig | None = None
    # The only member that is spelled so.
    completion_window: Literal["24h"] | None = Field(default=None, alias="completion_window")


class TaskId(Body):
    task_id: Text


class ListTasks(Page):
    run_status: (
        list[Literal["Queuing", "Running", "Done", "Stopping", "Stopped", "Failed", "Expired"]] | None
    ) = None


@ROUTE.action("CreateBatchInferenceTask")
def create_task(call: Call) -> Any:
    request = parse(CreateTask, call.body)
    if (request.endpoint is None) == (request.model_id is None):
        raise bad_parameter("modelId")
    if request.afs_config is None and request.input_bos_uri is None:
        raise bad_parameter("inputBosUri")
    if request.afs_config is None and request.output_bos_uri is None:
        raise bad_parameter("outputBosUri")
    active = [task for task in call.all(BatchInferenceTask) if task.end(call.now) is None]
    if len(active) >= call.assumptions.batch_inference_limit:
        raise ApiError(
            call.assumptions.batch_inference_quota,
            f"{len(active)} batch inference tasks are not over yet, which is as many as there may be.",
        )
    name = request.name.lower()
    window = request.completion_window is not None and call.task_seconds > WINDOW_SECONDS
    task = BatchInferenceTask(
        id=new_id("infer"),
        name=request.name,
        created=call.now,
        seconds=call.task_seconds,
        fails="fail" in name,
        expires="expire" in name or window,
        total_member=call.assumptions.batch_inference_total,
        request=call.body,
    )
    call.put(task)
    call.ids["taskId"] = task.id
    return {"taskId": task.id}


@ROUTE.action("DescribeBatchInferenceTask", shows_state=True, shows_progress=True)
def describe_task(call: Call) -> Any:
    task = call.find(BatchInferenceTask, "taskId", parse(TaskId, call.body).task_id)
    return task.show(call)


@ROUTE.action("DescribeBatchInferenceTasks", shows_state=True, shows_progress=True)
def describe_tasks(call: Call) -> Any:
    request = parse(ListTasks, call.body)
    tasks = [
        task
        for task in call.all(BatchInferenceTask)
        # An empty list stands for no filter.
        if not request.run_status or task.status(call.now) in request.run_status
    ]
    chosen, info = page(tasks, request, call.assumptions.newest_first)
    return {"taskList": [task.show(call) for task in chosen], "pageInfo": info}


@ROUTE.action("StopBatchInferenceTask")
def stop_task(call: Call) -> Any:
    task_id = parse(TaskId, call.body).task_id
    if task_id not in call.store.table(BatchInferenceTask) and call.assumptions.stop_unknown_task == "false":
        call.ids["taskId"] = task_id
        return False
    task = call.find(BatchInferenceTask, "taskId", task_id)
    if task.end(call.now) is not None:
        if call.assumptions.stop_finished_task == "error":
            raise call.wrong_state("The task has ended.")
        return call.assumptions.stop_finished_task == "true"
    if task.stopped is None:
        task.stop_requested = call.now
        task.stopped = call.now + call.assumptions.stop_delay_seconds
        call.put(task)
    return True


@ROUTE.action("DescribeBatchInferenceModel")
def describe_models(call: Call) -> Any:
    common = [
        _model(f"am-preset{number}", known["model"], [(f"amv-preset{number}", known["model"])])
        for number, known in enumerate(SUPPORTED_MODELS)
        if known["modelType"] == "text2text"
    ]
    custom = []
    for model_set in call.all(ModelSet):
        versions = [
            (model.id, model.name)
            for model in call.all(Model)
            if model.model_set_id == model_set.id and model.status(call.now) == "Ready"
        ]
        if versions:
            custom.append(_model(model_set.id, model_set.name, versions))
    return {"commonModelList": common, "customModelList": custom}


def _model(model_id: str, name: str, versions: list[tuple[str, str]]) -> dict[str, Any]:
    rows = [{"modelVersionId": version_id, "modelVersionName": version} for version_id, version in versions]
    return {"modelId": model_id, "modelName": name, "modelVersionList": rows}
