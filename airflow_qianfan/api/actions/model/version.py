"""Models, which are the versions (模型版本) of model sets."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    JsonObject,
    Member,
    MemberError,
    Request,
    RequiredText,
    Result,
    read_json,
)
from airflow_qianfan.api.actions.model.model_set import ROUTE, DescribeModelSet
from airflow_qianfan.api.config import CONSOLE
from airflow_qianfan.api.objects import Recognition, RemoteObject, States

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

MODEL_LIST_URL = f"{CONSOLE}/qianfan/modelcenter/model/user/list"


class TrainMeta(Member):
    """Which training becomes a model.

    The page's table calls the step ``checkpointStep``, all its examples call it ``step``: both are sent.

    :param task_id: the task, ``task-…``.
    :param checkpoint_step: its checkpoint; the service chooses when it is left out.
    """

    task_id: RequiredText
    checkpoint_step: int | None = Field(default=None, ge=0)
    step: int | None = Field(default=None, ge=0)

    @model_validator(mode="before")
    @classmethod
    def _both_names(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        steps = {str(data[name]) for name in _STEP_NAMES if data.get(name) is not None}
        if len(steps) > 1:
            raise MemberError("they name different checkpoints", "checkpointStep", "step")
        rest = {name: value for name, value in data.items() if name not in _STEP_NAMES}
        return rest | {name: step for step in steps for name in ("checkpointStep", "step")}


_STEP_NAMES = ("checkpoint_step", "checkpointStep", "step")


class ChatConf(Member):
    """How prompts are put together.

    :param history_qa_template: one earlier turn, with ``{question}`` and ``{answer}``; 1 to 200 characters.
    :param latest_question_template: the question, with ``{question}``; 1 to 200 characters.
    :param prompt_template: the whole, with ``{input}``; at most 300 characters.
    """

    history_qa_template: str = Field(alias="historyQATemplate", min_length=1, max_length=200)
    latest_question_template: str = Field(min_length=1, max_length=200)
    prompt_template: str = Field(max_length=300)


class CustomSpec(Member):
    """A template of one's own.

    :param display_name: 1 to 200 characters.
    :param file_name: result of the Action that uploads the template.
    """

    display_name: str = Field(min_length=1, max_length=200)
    file_name: RequiredText


class AdvancedSettings(Member):
    """How the imported model samples.

    :param sampling_strategy: ``multinomialSampling``, ``beamSearch`` or ``greedySearch``.
    :param num_sampling: 1 to 15, with ``multinomialSampling``.
    :param num_beams: 2 to 15, with ``beamSearch``.
    """

    sampling_strategy: Literal["multinomialSampling", "beamSearch", "greedySearch"]
    num_sampling: int | None = Field(default=None, ge=1, le=15)
    num_beams: int | None = Field(default=None, ge=2, le=15)


class ImportMeta(Member):
    """Which files become a model.

    The page marks ``transformerVersion`` and ``advancedSettings`` as required and leaves them out of its
    examples; here they are optional.

    :param bucket: bucket of Baidu Object Storage.
    :param object_path: path of the model in it.
    :param model_format: ``HuggingFace.Transformers``, ``HuggingFace.vLLM`` or ``Safetensors``.
    :param model_application_type: ``chat``, ``completion`` or ``Text-to-Image``.
    :param chat_conf: how prompts are put together; not together with ``custom_spec``.
    :param custom_spec: a template of one's own; not together with ``chat_conf``.
    :param advance_conf: result of the Action that shows preset advanced configurations.
    :param transformer_version: such as ``4.40.2``.
    :param vllm_version: such as ``0.6.3``.
    :param enable_prompt_auto_concat: whether prompts are put together by the service.
    :param basic_model_name: base model, or ``HuggingFace``.
    :param advanced_settings: how the model samples.
    """

    bucket: RequiredText
    object_path: RequiredText
    model_format: RequiredText
    model_application_type: RequiredText
    chat_conf: ChatConf | None = None
    custom_spec: CustomSpec | None = None
    advance_conf: str | None = None
    transformer_version: str | None = None
    vllm_version: str | None = Field(default=None, alias="vLLMVersion")
    enable_prompt_auto_concat: bool | None = None
    basic_model_name: str | None = None
    advanced_settings: AdvancedSettings | None = None

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        if self.chat_conf and self.custom_spec:
            raise MemberError("they exclude each other", "chatConf", "customSpec")
        return self


class CreateCustomModelResult(Result):
    """The new model version."""

    model_set_id: str | None = None
    model_id: RequiredText


class CreateCustomModel(Request, Action[CreateCustomModelResult]):
    """Publish a training, or import files, as a new version. https://cloud.baidu.com/doc/qianfan-api/s/Mmnijpuh3

    :param model_set_id: the model set that gets the version, ``am-…``.
    :param source_type: ``Train`` or ``Import``.
    :param train_meta: the training, for ``Train``.
    :param import_meta: the files, for ``Import``.
    :param description: at most 300 characters.
    :param resource_config: resource pool, ``{"resourceId": "prl-…"}``.
    """

    route: ClassVar[str] = ROUTE

    model_set_id: RequiredText
    source_type: Literal["Train", "Import"]
    train_meta: Annotated[TrainMeta | None, BeforeValidator(read_json)] = None
    import_meta: Annotated[ImportMeta | None, BeforeValidator(read_json)] = None
    description: str | None = Field(default=None, max_length=300)
    resource_config: JsonObject | None = None

    @model_validator(mode="after")
    def _has_its_source(self) -> Self:
        if self.source_type == "Train" and self.train_meta is None:
            raise MemberError("sourceType Train needs it", "trainMeta")
        if self.source_type == "Import" and self.import_meta is None:
            raise MemberError("sourceType Import needs it", "importMeta")
        return self


class Model(RemoteObject):
    """A model version as the service describes it."""

    noun: ClassVar[str] = "model version"
    id_name: ClassVar[str] = "model_id"
    results: ClassVar[tuple[str, ...]] = ("model_id", "model_set_id")
    id_member: ClassVar[str] = "model_id"
    record_key: ClassVar[str] = "qianfan_model"
    recognised_by: ClassVar[Recognition] = "mark"
    parent_name: ClassVar[str | None] = "model_set_id"
    parent_member: ClassVar[str] = "model_set_id"
    is_listed_by_id_only: ClassVar[bool] = True
    state_member: ClassVar[str] = "status_text"
    states: ClassVar[States | None] = States(
        active=("Creating",), succeeded=("Ready",), failed=("Fail",), spellings={"failed": "Fail"}
    )

    model_id: str
    model_set_id: str | None = None
    model_name: str | None = None
    status_text: str | None = Field(default=None, alias="status")
    model: str | None = None
    source_info: Any = None
    description: str | None = None
    model_application_type: str | None = None
    is_support_deploy: bool | None = None
    is_support_model_comp: bool | None = None
    is_support_evaluation: bool | None = None
    create_time: str | None = None
    modify_time: str | None = None

    @property
    def console_url(self) -> str | None:
        """The page of Baidu's console that lists the models of the account."""
        return MODEL_LIST_URL

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "model_id": self.model_id,
            "model_set_id": self.model_set_id,
            "model_name": self.model_name,
            "status": self.status,
            "status_text": self.status_text,
            "model": self.model,
            "description": self.description,
            "is_support_deploy": self.is_support_deploy,
            "console_url": self.console_url,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeModel:
        """Return the request that reads one."""
        return DescribeModel(model_id=object_id)

    @classmethod
    def discard(cls, object_id: str) -> DeleteModel:
        """Return the request that deletes one."""
        return DeleteModel(model_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[Self]:
        """Return the versions of the model set, newest first; a list shows only their ids."""
        model_set = client.call(DescribeModelSet(model_set_id=parent_id))
        return [cls(model_id=model_id) for model_id in model_set.model_ids]


class DescribeModel(Request, Action[Model]):
    """Describe a model version. https://cloud.baidu.com/doc/qianfan-api/s/Imnim2i64

    :param model_id: the version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    model_id: RequiredText


class DeleteModel(Request, Action[Any]):
    """Delete a model version. https://cloud.baidu.com/doc/WENXINWORKSHOP/s/hlxeg1tee

    :param model_id: the version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    model_id: RequiredText
