"""Evaluation tasks (评估任务): each measures up to five models, or results that they have given."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    Member,
    MemberError,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)
from airflow_qianfan.api.config import CONSOLE
from airflow_qianfan.api.objects import Recognition, RemoteObject, States
from airflow_qianfan.exceptions import QianfanNotFoundError

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

ROUTE = "/v2/eval"
MAX_EVALUATED = 5
"""How many models or results one task evaluates at most."""

MANUAL_STATE = "RunningWithManualBegin"
"""The state in which a person has to judge answers in the console."""


class EvaluatedModel(Member):
    """A model to evaluate. Other members, such as inference parameters, are passed through.

    :param model_id: the version, ``amv-…``.
    :param prompt_template: how the prompt is put together, with ``{input}``.
    """

    model_id: RequiredText
    prompt_template: str | None = None

    @model_validator(mode="after")
    def _has_input(self) -> Self:
        if self.prompt_template and "{input}" not in self.prompt_template:
            raise MemberError("must hold {input}", "promptTemplate")
        return self


class EvalModelConfig(Member):
    """Models, and the data on which they are evaluated.

    :param version_id: version of a data set, ``ds-…``.
    :param storage_type: where the results are kept, ``BOS`` or ``sysStorage``.
    :param eval_model_config_list: the models, at most 5.
    """

    version_id: str | None = None
    storage_type: str | None = None
    eval_model_config_list: list[EvaluatedModel] = Field(min_length=1, max_length=MAX_EVALUATED)


class EvaluatedDataset(Member):
    """Results of an inference to evaluate.

    :param infer_dataset_id: the data set that holds them.
    """

    infer_dataset_id: RequiredText


class EvalInferDatasetConfig(Member):
    """Results to evaluate.

    :param eval_infer_dataset_config_list: the data sets, at most 5.
    """

    eval_infer_dataset_config_list: list[EvaluatedDataset] = Field(min_length=1, max_length=MAX_EVALUATED)


class EvalObjectConfig(Member):
    """What is evaluated.

    :param eval_model_config: models, for the type ``model``.
    :param eval_infer_dataset_config: results of an inference, for the type ``inferDataset``.
    """

    eval_model_config: EvalModelConfig | None = None
    eval_infer_dataset_config: EvalInferDatasetConfig | None = None


class EvalConfig(Member):
    """How it is evaluated. Other members are passed through.

    :param eval_mode: ``rule``, ``model``, ``manual`` or ``rule,model``.
    """

    eval_mode: RequiredText


class CreateEvalTaskResult(Result):
    """The new task."""

    task_id: RequiredText

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, data: Any) -> Any:
        # The service answers with nothing but the id.
        return {"taskId": data} if isinstance(data, str) else data


class CreateEvalTask(Request, Action[CreateEvalTaskResult]):
    """Start an evaluation. https://cloud.baidu.com/doc/qianfan-api/s/Jmm4kavy6

    :param task_name: name of the task.
    :param description: what it is for.
    :param eval_object_type: ``model`` or ``inferDataset``.
    :param eval_object_config: what is evaluated; see :class:`EvalObjectConfig`.
    :param eval_config: how it is evaluated; see :class:`EvalConfig`.
    """

    route: ClassVar[str] = ROUTE

    task_name: RequiredText
    description: str | None = None
    eval_object_type: Literal["model", "inferDataset"]
    eval_object_config: Annotated[EvalObjectConfig, BeforeValidator(read_json)]
    eval_config: Annotated[EvalConfig, BeforeValidator(read_json)]

    @model_validator(mode="after")
    def _has_its_objects(self) -> Self:
        config = self.eval_object_config
        given = {
            "evalModelConfig": config.eval_model_config,
            "evalInferDatasetConfig": config.eval_infer_dataset_config,
        }
        needed = "evalModelConfig" if self.eval_object_type == "model" else "evalInferDatasetConfig"
        if given.pop(needed) is None:
            message = f"evalObjectType {self.eval_object_type} needs it"
            raise MemberError(message, f"evalObjectConfig.{needed}")
        (other, value), *_ = given.items()
        if value is not None:
            raise MemberError("all objects must be of one type", f"evalObjectConfig.{other}")
        return self


class EvalTask(RemoteObject):
    """An evaluation as the service describes it."""

    noun: ClassVar[str] = "evaluation task"
    id_name: ClassVar[str] = "eval_task_id"
    results: ClassVar[tuple[str, ...]] = ("eval_task_id",)
    id_member: ClassVar[str] = "task_id"
    name_member: ClassVar[str] = "task_name"
    record_key: ClassVar[str] = "qianfan_eval_task"
    recognised_by: ClassVar[Recognition] = "mark"
    is_told_by_mark_alone: ClassVar[bool] = True
    state_member: ClassVar[str] = "state_text"
    states: ClassVar[States | None] = States(
        waiting=("Queued",),
        active=("Running", MANUAL_STATE, "RunningWithMetricsCalculating", "Stopping"),
        # Spelled so by the service.
        succeeded=("Successed",),
        failed=("Failed",),
        stopped=("Stopped",),
        spellings={
            "succeeded": "Successed",
            "success": "Successed",
            "fail": "Failed",
            # Words of the older interface.
            "pending": "Queued",
            "doing": "Running",
            "doingwithmanualbegin": MANUAL_STATE,
            "doingwithmetricscalculating": "RunningWithMetricsCalculating",
            "done": "Successed",
            "partlydone": "Failed",
        },
    )

    task_id: str
    task_name: str | None = None
    description: str | None = None
    eval_type: str | None = None
    state_text: str | None = Field(default=None, alias="state")

    @property
    def waits_for_person(self) -> bool:
        """Whether it goes on only when a person has judged answers in the console."""
        return self.status == MANUAL_STATE

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that shows this task."""
        return f"{CONSOLE}/qianfan/modelcenter/model/eval/detail/task/{self.task_id}"

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "eval_task_id": self.task_id,
            "task_name": self.task_name,
            "eval_type": self.eval_type,
            "status": self.status,
            "state_text": self.state_text,
            "console_url": self.console_url,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeEvalTask:
        """Return the request that reads one."""
        return DescribeEvalTask(task_id=object_id)

    @classmethod
    def stop(cls, object_id: str) -> StopEvalTask:
        """Return the request that stops one."""
        return StopEvalTask(task_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[EvalTask]:
        """Return the tasks of the account that have the name, each with its description.

        The filter of the list is not used: how fuzzy it is, is not documented.
        """
        for eval_type in ("auto", "manual"):
            for row in client.iterate(DescribeEvalTasks(eval_type=eval_type, max_keys=100)):
                if row.task_name not in (None, name):
                    continue
                if row.description is not None:
                    yield row
                    continue
                # Whether the list shows descriptions is not documented.
                with suppress(QianfanNotFoundError):
                    yield client.call(cls.describe(row.task_id))


class DescribeEvalTask(Request, Action[EvalTask]):
    """Describe an evaluation. https://cloud.baidu.com/doc/qianfan-api/s/qmm4v8csa

    :param task_id: the task, ``ame-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText


class EvalTaskPage(Page):
    """One page of evaluations. What the service calls its list is not known: it is the only one."""

    id_member: ClassVar[str] = "task_id"
    task_list: RowList[EvalTask] = Field(default_factory=list)

    @model_validator(mode="before")
    @classmethod
    def _only_list(cls, data: Any) -> Any:
        if isinstance(data, list):
            return {"taskList": data}
        if isinstance(data, dict) and not {"taskList", "task_list"} & set(data):
            lists = [name for name, value in data.items() if isinstance(value, list)]
            if len(lists) == 1:
                return {**data, "taskList": data[lists[0]]}
        return data

    @property
    def rows(self) -> list[EvalTask]:
        """The tasks of this page."""
        return self.task_list


class DescribeEvalTasks(PagedRequest, Action[EvalTaskPage]):
    """List evaluations. https://cloud.baidu.com/doc/qianfan-api/s/wmm4ts6t5

    :param eval_type: ``auto`` or ``manual``.
    :param key_filter: only tasks with this in their name or id, or of this very model version.
    """

    route: ClassVar[str] = ROUTE

    eval_type: Literal["auto", "manual"]
    key_filter: str | None = None


class StopEvalTask(Request, Action[Any]):
    """Stop an evaluation. https://cloud.baidu.com/doc/qianfan-api/s/Gmwbl49s0

    :param task_id: the task, ``ame-…``; as a rule only one without a manual part can be stopped.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText


class DeleteEvalTask(Request, Action[Any]):
    """Delete an evaluation. https://cloud.baidu.com/doc/qianfan-api/s/qmm4v8csa

    It has no page of its own; the official SDK knows it.

    :param task_id: the task, ``ame-…``.
    """

    route: ClassVar[str] = ROUTE

    task_id: RequiredText
