"""Compression tasks: a version of a model becomes a smaller one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_qianfan.emulator.actions import NO_RESULT, Body, Call, Page, Text, page, parse
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.model.model_set import ROUTE
from airflow_qianfan.emulator.model.records import Model, ModelSet
from airflow_qianfan.emulator.records import Record, china_time, new_id

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

CREATING_SHARE = 0.1
FAILING_SHARE = 0.55
WEIGHTS = ("INT8-PTQ", "W8A16C16", "W4A16C16")


@dataclass(kw_only=True)
class CompTask(Record):
    """A compression task. ``seconds`` is its length from creation to the end."""

    kind = "comp_task"
    heading = "Compressions"
    columns = ("id", "name", "sourceModelId", "status", "modelId", "createTime", "finishTime")

    name: str
    description: str
    source_model_id: str
    model_id: str
    config: dict[str, Any]
    seconds: float
    fails: bool
    cancelled: float | None = None
    stopped: float | None = None

    @property
    def natural_end(self) -> float:
        """When it has succeeded or failed, if nobody cancels it."""
        return self.created + self.seconds * (FAILING_SHARE if self.fails else 1.0)

    def end(self, now: float) -> float | None:
        """When it ended, None while it has not."""
        end = self.natural_end if self.stopped is None else self.stopped
        return end if now >= end else None

    def status(self, now: float) -> str:
        """Return the ``status`` at a time."""
        if self.end(now) is not None:
            if self.stopped is not None:
                return "stopped"
            return "failed" if self.fails else "succeeded"
        if self.cancelled is not None and now >= self.cancelled:
            return "stopping"
        return "creating" if now - self.created < CREATING_SHARE * self.seconds else "running"

    def show(self, view: View) -> dict[str, Any]:
        status, end = self.status(view.now), self.end(view.now)
        detail: dict[str, Any] = {
            "id": self.id,
            "name": self.name,
            "description": self.description,
            "status": status,
            "failedReason": "The emulator lets it fail." if status == "failed" else "",
            "sourceModelId": self.source_model_id,
            "config": self.config,
            "createTime": china_time(self.created),
        }
        if status == "succeeded":
            detail["modelId"] = self.model_id
        if end is not None:
            detail["finishTime"] = china_time(end)
        return detail


class Config(Body):
    strategy: Literal["Quantization", "Sparsity"]
    weight: str | None = None


class CreateCompTask(Body):
    name: Text
    description: str | None = None
    source_model_id: Text
    model_set_id: Text
    config: Config


class CompTaskId(Body):
    model_comp_task_id: Text


class ListCompTasks(Page):
    source_model_id: str | None = None


@ROUTE.action("CreateModelCompTask")
def create_comp_task(call: Call) -> Any:
    request = parse(CreateCompTask, call.body)
    # The examples write int8-ptq, the table INT8-PTQ.
    weight = (request.config.weight or "").upper()
    if weight not in WEIGHTS and (weight or request.config.strategy == "Quantization"):
        raise bad_parameter("weight")
    source = call.find(Model, "sourceModelId", request.source_model_id)
    if not source.can_be_compressed(call.now):
        raise bad_parameter("sourceModelId")
    model_set = call.find(ModelSet, "modelSetId", request.model_set_id)
    task = CompTask(
        id=new_id("amva"),
        name=request.name,
        description=request.description or "",
        source_model_id=source.id,
        model_id=new_id("amv"),
        config=call.body["config"],
        created=call.now,
        seconds=call.task_seconds,
        fails="fail" in request.name.lower(),
        request=call.body,
    )
    call.put(task)
    if not task.fails:
        _put_compressed(call, task, source, model_set)
    call.ids["modelCompTaskId"] = task.id
    return task.id


def _put_compressed(call: Call, task: CompTask, source: Model, model_set: ModelSet) -> None:
    """Put the new version where nobody sees it before the task has succeeded."""
    model_set.versions_made += 1
    call.put(model_set)
    call.put(
        Model(
            id=task.model_id,
            model_set_id=model_set.id,
            name=f"{model_set.name}-V{model_set.versions_made}",
            description="",
            base_model=source.base_model,
            application_type=source.application_type,
            source={"sourceType": "Acceleration", "modelCompTaskId": task.id},
            created=task.natural_end,
            appears=task.natural_end,
            seconds=0.0,
            fails=False,
        )
    )


def _find(call: Call) -> CompTask:
    return call.find(CompTask, "modelCompTaskId", parse(CompTaskId, call.body).model_comp_task_id)


@ROUTE.action("DescribeModelCompTask", shows_state=True)
def describe_comp_task(call: Call) -> Any:
    return _find(call).show(call)


@ROUTE.action("DescribeModelCompTasks", shows_state=True)
def describe_comp_tasks(call: Call) -> Any:
    request = parse(ListCompTasks, call.body)
    tasks = [
        task for task in call.all(CompTask) if request.source_model_id in (None, "", task.source_model_id)
    ]
    chosen, info = page(tasks, request, call.assumptions.newest_first)
    return {"modelCompTaskList": [task.show(call) for task in chosen], "pageInfo": info}


@ROUTE.action("CancelModelCompTask")
def cancel_comp_task(call: Call) -> Any:
    task = _find(call)
    if task.end(call.now) is not None:
        if call.assumptions.cancel_ended_comp_task == "error":
            raise call.wrong_state("The compression task has ended.")
        return NO_RESULT
    if task.cancelled is None:
        task.cancelled = call.now
        task.stopped = call.now + call.assumptions.stop_delay_seconds
        call.put(task)
        _drop_compressed(call, task)
    return NO_RESULT


@ROUTE.action("DeleteModelCompTask")
def delete_comp_task(call: Call) -> Any:
    task = _find(call)
    if task.end(call.now) is None:
        if call.assumptions.delete_running_comp_task == "refuse":
            raise call.wrong_state("The compression task is still running.")
        _drop_compressed(call, task)
    call.remove(task)
    return NO_RESULT


def _drop_compressed(call: Call, task: CompTask) -> None:
    """Remove the version that a task would have made."""
    model = call.store.table(Model).get(task.model_id)
    if model is not None:
        call.remove(model)
