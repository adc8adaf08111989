"""The Actions of ``/v2/model``, and what they keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from airflow_qianfan.emulator.actions import Body, Call, Page, Route, Text, page, parse
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.records import Record, china_time, new_id
from airflow_qianfan.emulator.training import Task

if TYPE_CHECKING:
    from airflow_qianfan.emulator.store import View

ROUTE = Route("/v2/model")


@dataclass(kw_only=True)
class ModelSet(Record):
    """A model ("my model" in the console) with its versions."""

    kind = "model_set"
    heading = "Models"
    columns = ("modelSetId", "modelSetName", "modelType", "modelNames", "createTime")

    name: str
    model_type: str
    labels: list[str]
    modified: float
    versions_made: int = 0

    def show(self, view: View) -> dict[str, Any]:
        models = [model for model in view.all(Model) if model.model_set_id == self.id]
        models.reverse()
        return {
            "modelSetId": self.id,
            "modelSetName": self.name,
            "modelType": self.model_type,
            "labels": self.labels,
            "createTime": china_time(self.created),
            "modifyTime": china_time(self.modified),
            "modelIds": [model.id for model in models],
            "modelNames": [model.name for model in models],
        }


@dataclass(kw_only=True)
class Model(Record):
    """A version of a model. ``seconds`` is the time it takes to become ready."""

    kind = "model"
    heading = "Model versions"
    columns = ("modelId", "modelName", "model", "status", "createTime")

    model_set_id: str
    name: str
    description: str
    base_model: str
    application_type: str
    source: dict[str, Any]
    seconds: float
    fails: bool

    def status(self, now: float) -> str:
        """Return the ``status`` at a time."""
        if now < self.created + self.seconds:
            return "Creating"
        return "Fail" if self.fails else "Ready"

    def show(self, view: View) -> dict[str, Any]:
        status = self.status(view.now)
        detail: dict[str, Any] = {
            "modelSetId": self.model_set_id,
            "modelId": self.id,
            "modelName": self.name,
            "status": status,
            "model": self.base_model,
            "sourceInfo": self.source,
            "createTime": china_time(self.created),
            "modifyTime": china_time(self.created if status == "Creating" else self.created + self.seconds),
            "modelApplicationType": self.application_type,
            "tokenLimitations": {"trivial": {"inputTokens": 8192}},
            "isSupportDeploy": status == "Ready",
            "isSupportModelComp": False,
            "isSupportEvaluation": status == "Ready",
            "capabilities": [],
        }
        if self.description:
            detail["description"] = self.description
        return detail


class CreateModelSet(Body):
    model_set_name: Text
    # The documents' values and those of the official SDK, which differ.
    model_type: Literal[
        "Text2Text",
        "Text2Image",
        "Embedding",
        "ImageUnderstanding",
        "VideoGeneration",
        "VioceGeneration",
        "Reasoning",
        "Reranker",
        "TextRepresentation",
        "Industry",
    ]
    labels: list[str] | None = None


class ModelSetKey(Body):
    model_set_id: Text | None = None
    model_set_name: Text | None = None


class ModelSetId(Body):
    model_set_id: Text


class ModelId(Body):
    model_id: Text


class TrainMeta(Body):
    task_id: Text
    checkpoint_step: int | None = None
    step: int | None = None


class ChatConf(Body):
    history_qa_template: str = Field(min_length=1, max_length=200, alias="historyQATemplate")
    latest_question_template: str = Field(min_length=1, max_length=200)
    prompt_template: str = Field(max_length=300)


class CustomSpec(Body):
    display_name: str = Field(min_length=1, max_length=200)
    file_name: Text


class AdvancedSettings(Body):
    sampling_strategy: Literal["multinomialSampling", "beamSearch", "greedySearch"]
    num_sampling: int | None = Field(default=None, ge=1, le=15)
    num_beams: int | None = Field(default=None, ge=2, le=15)


class ImportMeta(Body):
    # transformerVersion and advancedSettings are marked as required, but most examples leave them out;
    # HuggingFace.vLLM and its version appear in examples only.
    bucket: Text
    object_path: Text
    model_format: Literal["HuggingFace.Transformers", "HuggingFace.vLLM", "Safetensors"]
    model_application_type: Literal["chat", "completion", "Text-to-Image"]
    chat_conf: ChatConf | None = None
    custom_spec: CustomSpec | None = None
    advance_conf: str | None = None
    transformer_version: Literal["4.34.0", "4.36.2", "4.39.3", "4.40.2"] | None = None
    vllm_version: str | None = Field(default=None, alias="vLLMVersion")
    enable_prompt_auto_concat: bool | None = None
    basic_model_name: str | None = None
    advanced_settings: AdvancedSettings | None = None


class CreateModel(Body):
    model_set_id: Text
    description: str | None = Field(default=None, max_length=300)
    source_type: Literal["Train", "Import"]
    train_meta: TrainMeta | None = None
    import_meta: ImportMeta | None = None
    resource_config: dict[str, Any] | None = None


@ROUTE.action("CreateCustomModelSet")
def create_model_set(call: Call) -> Any:
    request = parse(CreateModelSet, call.body)
    if any(known.name == request.model_set_name for known in call.all(ModelSet)):
        raise call.duplicate("A model with this name exists.")
    model_set = ModelSet(
        id=new_id("am"),
        name=request.model_set_name,
        model_type=request.model_type,
        labels=request.labels or [],
        created=call.now,
        modified=call.now,
    )
    call.put(model_set)
    call.ids["modelSetId"] = model_set.id
    return model_set.id


@ROUTE.action("DescribeCustomModelSets")
def describe_model_sets(call: Call) -> Any:
    request = parse(Page, call.body)
    chosen, info = page(call.all(ModelSet), request, call.assumptions.newest_first)
    rows = []
    for model_set in chosen:
        row = model_set.show(call)
        rows.append({**row, "modelCount": len(row["modelIds"])})
    return {"customModelSetList": rows, "pageInfo": info}


@ROUTE.action("DescribeModelSet")
def describe_model_set(call: Call) -> Any:
    request = parse(ModelSetKey, call.body)
    if request.model_set_id is not None:
        model_set = call.find(ModelSet, "modelSetId", request.model_set_id)
    elif request.model_set_name is not None:
        named = [known for known in call.all(ModelSet) if known.name == request.model_set_name]
        call.ids["modelSetName"] = request.model_set_name
        if not named:
            raise call.missing("modelSetName")
        (model_set,) = named
        call.ids["modelSetId"] = model_set.id
    else:
        raise bad_parameter("modelSetId")
    return {**model_set.show(call), "source": "UserCreate"}


@ROUTE.action("DeleteModelSet")
def delete_model_set(call: Call) -> Any:
    model_set = call.find(ModelSet, "modelSetId", parse(ModelSetId, call.body).model_set_id)
    models = [model for model in call.all(Model) if model.model_set_id == model_set.id]
    if models and call.assumptions.delete_model_set_with_models == "refuse":
        raise call.wrong_state("The model still has versions.")
    for model in models:
        call.remove(model)
    call.remove(model_set)
    call.ids["modelIds"] = [model.id for model in models]
    return {}


@ROUTE.action("CreateCustomModel")
def create_model(call: Call) -> Any:
    request = parse(CreateModel, call.body)
    meta = request.train_meta if request.source_type == "Train" else request.import_meta
    if meta is None:
        raise bad_parameter("trainMeta" if request.source_type == "Train" else "importMeta")
    if isinstance(meta, ImportMeta) and meta.chat_conf is not None and meta.custom_spec is not None:
        raise bad_parameter("customSpec")
    model_set = call.find(ModelSet, "modelSetId", request.model_set_id)
    if isinstance(meta, TrainMeta):
        base_model, application_type, source = _training_result(call, model_set, meta)
    else:
        base_model, application_type = meta.basic_model_name or "HuggingFace", meta.model_application_type
        source = {"bucket": meta.bucket, "objectPath": meta.object_path}

    description = request.description or ""
    model_set.versions_made += 1
    model_set.modified = call.now
    model = Model(
        id=new_id("amv"),
        model_set_id=model_set.id,
        name=f"{model_set.name}-V{model_set.versions_made}",
        description=description,
        base_model=base_model,
        application_type=application_type,
        source={"sourceType": request.source_type, **source},
        created=call.now,
        seconds=call.model_seconds,
        fails="fail" in (model_set.name + description).lower(),
        request=call.body,
    )
    call.put(model_set)
    call.put(model)
    call.ids["modelId"] = model.id
    return {"modelSetId": model_set.id, "modelId": model.id}


def _training_result(call: Call, model_set: ModelSet, meta: TrainMeta) -> tuple[str, str, dict[str, Any]]:
    """Return base model, application type and source of what is to be published.

    The documents' table says checkpointStep, all their examples say step: either will do.
    """
    if meta.step is not None and meta.checkpoint_step not in (None, meta.step):
        raise bad_parameter("checkpointStep")
    task = call.find(Task, "taskId", meta.task_id)
    if task.status(call.now) != "Done":
        raise call.wrong_state("The task is not done.")
    steps = [checkpoint["step"] for checkpoint in task.checkpoints()]
    step = meta.step if meta.checkpoint_step is None else meta.checkpoint_step
    if step is not None and step not in steps:
        raise bad_parameter("step" if meta.checkpoint_step is None else "checkpointStep")
    source = {"taskId": task.id, "checkpointStep": steps[-1] if step is None else step}
    versions = [model for model in call.all(Model) if model.model_set_id == model_set.id]
    if call.assumptions.publish_twice == "refuse" and any(
        source.items() <= old.source.items() for old in versions
    ):
        raise call.wrong_state("This training result is already published.")
    application_type = "chat" if task.text_generation else "Text-to-Image"
    return task.job(call).model, application_type, source


@ROUTE.action("DescribeModel", shows_state=True)
def describe_model(call: Call) -> Any:
    model = call.find(Model, "modelId", parse(ModelId, call.body).model_id)
    return model.show(call)


@ROUTE.action("DeleteModel")
def delete_model(call: Call) -> Any:
    model = call.find(Model, "modelId", parse(ModelId, call.body).model_id)
    call.remove(model)
    return {}
