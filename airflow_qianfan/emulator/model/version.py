"""The Actions of model versions."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from airflow_qianfan.emulator.actions import Body, Call, Text, parse
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.model.model_set import ROUTE
from airflow_qianfan.emulator.model.records import Model, ModelSet
from airflow_qianfan.emulator.records import new_id
from airflow_qianfan.emulator.training import Task


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
