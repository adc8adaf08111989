"""The Actions of ``/v2/eval``, and what they keep."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from airflow_qianfan.emulator.actions import Body, Call, Page, Route, Text, page, parse
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.records import Record, new_id
from airflow_qianfan.emulator.strict import check_dataset_version

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

ROUTE = Route("/v2/eval")

QUEUED_SHARE = 0.1
FAILING_SHARE = 0.55
ANSWERED_SHARE = 0.6
CALCULATING_SHARE = 0.4
QUEUED_EXPORT_SHARE = 0.2


@dataclass(kw_only=True)
class EvalTask(Record):
    """An evaluation. ``seconds`` is its length without the time for which it waits for a person.

    :param judged: when a person had judged all answers.
    """

    kind = "eval_task"
    heading = "Evaluations"
    columns = ("taskId", "taskName", "evalType", "state")

    name: str
    description: str
    eval_mode: str
    seconds: float
    fails: bool
    stopped: float | None = None
    judged: float | None = None

    @property
    def is_manual(self) -> bool:
        """Whether a person has to judge answers."""
        return "manual" in self.eval_mode.split(",")

    @property
    def answered(self) -> float:
        """When all answers are there."""
        return self.created + self.seconds * ANSWERED_SHARE

    @property
    def natural_end(self) -> float:
        """When it is over, if nobody stops it."""
        if self.fails:
            return self.created + self.seconds * FAILING_SHARE
        begin = self.answered
        if self.is_manual:
            begin = math.inf if self.judged is None else self.judged
        return begin + self.seconds * CALCULATING_SHARE

    def end(self, now: float) -> float | None:
        """When it ended, None while it has not."""
        end = self.natural_end if self.stopped is None else min(self.stopped, self.natural_end)
        return end if now >= end else None

    def state(self, now: float) -> str:
        """Return the ``state`` at a time."""
        end = self.end(now)
        if end is None:
            if self.stopped is not None:
                return "Stopping"
            if now - self.created < QUEUED_SHARE * self.seconds:
                return "Queued"
            if now < self.answered:
                return "Running"
            if self.is_manual and (self.judged is None or now < self.judged):
                return "RunningWithManualBegin"
            return "RunningWithMetricsCalculating"
        if end < self.natural_end:
            return "Stopped"
        return "Failed" if self.fails else "Successed"

    def subjects(self) -> list[tuple[str, str]]:
        """Return what is evaluated: the member that names each, and its id."""
        config = self.request["evalObjectConfig"]
        if self.request["evalObjectType"] == "model":
            rows, member = config["evalModelConfig"]["evalModelConfigList"], "modelId"
        else:
            rows, member = config["evalInferDatasetConfig"]["evalInferDatasetConfigList"], "inferDatasetId"
        return [(member, row[member]) for row in rows]

    def metrics(self, subject: str) -> dict[str, Any]:
        """Return what was measured: the same each time."""
        digest = hashlib.sha256(f"{self.id} {subject}".encode()).digest()
        modes = self.eval_mode.split(",")
        found: dict[str, Any] = {}
        if "rule" in modes:
            names = ("accuracy", "f1Score", "rouge_1", "rouge_2", "rouge_l", "bleu4")
            found |= {name: round(0.1 + byte / 320, 4) for name, byte in zip(names, digest[:6], strict=True)}
        if "model" in modes:
            score = round(1 + digest[6] / 64, 2)
            found |= {"avgJudgeScore": score, "stdJudgeScore": 0.5, "medianJudgeScore": score}
            found["scoreDistribution"] = {"1": digest[7], "5": digest[8]}
        if "manual" in modes:
            found |= {"manualAvgScore": round(1 + digest[9] / 64, 2), "goodCaseProportion": 0.5}
        return found

    def show(self, view: View) -> dict[str, Any]:
        return {
            "taskId": self.id,
            "taskName": self.name,
            "description": self.description,
            "evalType": "manual" if self.is_manual else "auto",
            "state": self.state(view.now),
        }

    def console_path(self, view: View) -> str | None:
        return f"/qianfan/modelcenter/model/eval/detail/task/{self.id}"


@dataclass(kw_only=True)
class EvalExport(Record):
    """An export of the results of an evaluation. ``seconds`` is the time it takes."""

    kind = "eval_export"
    heading = "Exports of evaluations"
    columns = ("taskId", "status")

    eval_id: str
    seconds: float
    fails: bool

    def status(self, now: float) -> str:
        """Return the ``status`` at a time."""
        if now < self.created + self.seconds:
            return "Queued" if now < self.created + self.seconds * QUEUED_EXPORT_SHARE else "Running"
        return "Failed" if self.fails else "Succeeded"

    def show(self, view: View) -> dict[str, Any]:
        status = self.status(view.now)
        detail = {"taskId": self.id, "evalId": self.eval_id, "status": status}
        if status == "Succeeded":
            detail["downloadUrl"] = f"https://bj.bcebos.com/emulator/{self.id}.zip"
        return detail


class EvaluatedModel(Body):
    model_id: Text
    prompt_template: str | None = None


class EvalModelConfig(Body):
    version_id: Text
    storage_type: Literal["BOS", "sysStorage"] | None = None
    eval_model_config_list: Annotated[list[EvaluatedModel], Field(min_length=1, max_length=5)]


class EvaluatedDataset(Body):
    infer_dataset_id: Text


class EvalInferDatasetConfig(Body):
    eval_infer_dataset_config_list: Annotated[list[EvaluatedDataset], Field(min_length=1, max_length=5)]


class EvalObjectConfig(Body):
    eval_model_config: EvalModelConfig | None = None
    eval_infer_dataset_config: EvalInferDatasetConfig | None = None


class EvalConfig(Body):
    eval_mode: Literal["rule", "model", "manual", "rule,model"]


class CreateTask(Body):
    task_name: Text
    description: str | None = None
    eval_object_type: Literal["model", "inferDataset"]
    eval_object_config: EvalObjectConfig
    eval_config: EvalConfig


class TaskId(Body):
    task_id: Text


class ListTasks(Page):
    eval_type: Literal["manual", "auto"]
    key_filter: str | None = None


class CreateExport(Body):
    eval_id: Text
    storage_type: str | None = None
    bucket: str | None = None
    export_content: list[Literal["prompt", "prediction", "completion", "metrics", "system"]] | None = None


@ROUTE.action("CreateEvalTask")
def create_task(call: Call) -> Any:
    request = parse(CreateTask, call.body)
    config = request.eval_object_config
    models, datasets = config.eval_model_config, config.eval_infer_dataset_config
    if (models is None) is (request.eval_object_type == "model"):
        raise bad_parameter("evalModelConfig")
    if (datasets is None) is (request.eval_object_type == "inferDataset"):
        raise bad_parameter("evalInferDatasetConfig")
    for model in models.eval_model_config_list if models else ():
        if model.prompt_template is not None and "{input}" not in model.prompt_template:
            raise bad_parameter("promptTemplate")
    if models and call.strict:
        check_dataset_version(call, models.version_id)
    task = EvalTask(
        id=new_id("ame"),
        name=request.task_name,
        description=request.description or "",
        eval_mode=request.eval_config.eval_mode,
        created=call.now,
        seconds=call.task_seconds,
        fails="fail" in request.task_name.lower(),
        request=call.body,
    )
    call.put(task)
    call.ids["taskId"] = task.id
    return task.id


@ROUTE.action("DescribeEvalTask", shows_state=True)
def describe_task(call: Call) -> Any:
    task = call.find(EvalTask, "taskId", parse(TaskId, call.body).task_id)
    return task.show(call)


@ROUTE.action("DescribeEvalTasks", shows_state=True)
def describe_tasks(call: Call) -> Any:
    request = parse(ListTasks, call.body)
    is_manual = request.eval_type == "manual"
    tasks = [
        task
        for task in call.all(EvalTask)
        if task.is_manual is is_manual and _matches(task, request.key_filter or "")
    ]
    chosen, info = page(tasks, request, call.assumptions.newest_first)
    rows = [task.show(call) for task in chosen]
    if not call.assumptions.evaluation_list_has_descriptions:
        for row in rows:
            del row["description"]
    return {call.assumptions.evaluation_list: rows, "pageInfo": info}


def _matches(task: EvalTask, text: str) -> bool:
    """Tell whether a text is in the name or the id, or is the id of a version that is evaluated."""
    return text in task.name or text in task.id or any(text == subject for _, subject in task.subjects())


@ROUTE.action("DescribeEvalTaskReport")
def describe_report(call: Call) -> Any:
    task = call.find(EvalTask, "taskId", parse(TaskId, call.body).task_id)
    if task.state(call.now) != "Successed":
        if call.assumptions.evaluation_report_before_end == "empty":
            return []
        raise call.wrong_state("The evaluation has no report.")
    rows = []
    for member, subject in task.subjects():
        metrics = task.metrics(subject)
        if call.assumptions.evaluation_metrics == "nested":
            metrics = {"effectMetric": metrics, "performanceMetric": {}}
        elif call.assumptions.evaluation_metrics == "texts":
            metrics = {name: _as_text(value) for name, value in metrics.items()}
        rows.append(
            {
                "taskId": task.id,
                "taskName": task.name,
                member: subject,
                "evalObjectType": task.request["evalObjectType"],
                "evalMode": task.eval_mode,
                **metrics,
            }
        )
    return rows


def _as_text(value: Any) -> Any:
    """Return a share as percent, as trainings show them, and another number as text."""
    if not isinstance(value, float):
        return value
    return f"{value:.2%}" if value < 1 else f"{value:.2f}"


@ROUTE.action("StopEvalTask")
def stop_task(call: Call) -> Any:
    task = call.find(EvalTask, "taskId", parse(TaskId, call.body).task_id)
    if task.end(call.now) is not None:
        if call.assumptions.stop_finished_task == "error":
            raise call.wrong_state("The evaluation has ended.")
        return {}
    if task.is_manual and call.assumptions.stop_manual_evaluation == "refuse":
        raise call.wrong_state("Only an automatic evaluation can be stopped.")
    if task.stopped is None:
        task.stopped = call.now + call.assumptions.stop_delay_seconds
        call.put(task)
    return {}


@ROUTE.action("DeleteEvalTask")
def delete_task(call: Call) -> Any:
    task = call.find(EvalTask, "taskId", parse(TaskId, call.body).task_id)
    if task.end(call.now) is None and call.assumptions.delete_running_evaluation == "refuse":
        raise call.wrong_state("The evaluation is still running.")
    call.remove(task)
    return True


@ROUTE.action("CreateEvalResultExportTask")
def create_export(call: Call) -> Any:
    request = parse(CreateExport, call.body)
    task = call.find(EvalTask, "evalId", request.eval_id)
    if task.state(call.now) != "Successed":
        raise call.wrong_state("The evaluation has no results.")
    export = EvalExport(
        id=new_id("amemt"),
        eval_id=task.id,
        created=call.now,
        seconds=call.model_seconds,
        fails="fail" in (request.bucket or "").lower(),
        request=call.body,
    )
    call.put(export)
    call.ids["taskId"] = export.id
    return export.id if call.assumptions.evaluation_export_answer == "string" else {"taskId": export.id}


@ROUTE.action("DescribeEvalResultExportTask", shows_state=True)
def describe_export(call: Call) -> Any:
    export = call.find(EvalExport, "taskId", parse(TaskId, call.body).task_id)
    return export.show(call)


def judge(view: View, task_id: str) -> None:
    """Let a person judge the answers of an evaluation.

    :raises ValueError: it does not wait for that.
    """
    task = view.get(EvalTask, task_id)
    if task is None or task.state(view.now) != "RunningWithManualBegin":
        raise ValueError(f"the evaluation {task_id} does not wait for a person")
    task.judged = view.now
    view.store.put(task)
    # Writes it to the state file.
    view.store.advance(0.0)
