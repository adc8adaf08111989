"""Model sets (模型), the containers of model versions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Self

from pydantic import BeforeValidator, Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    MemberError,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
    read_json,
)
from airflow_qianfan.api.objects import Recognition, RemoteObject
from airflow_qianfan.exceptions import QianfanNotFoundError, QianfanRequestError

if TYPE_CHECKING:
    from airflow_qianfan.api.client import QianfanClient

ROUTE = "/v2/model"


class CreateCustomModelSetResult(Result):
    """The new model set."""

    model_set_id: RequiredText

    @model_validator(mode="before")
    @classmethod
    def _plain_id(cls, data: Any) -> Any:
        # The service answers with nothing but the id.
        return {"modelSetId": data} if isinstance(data, str) else data


class CreateCustomModelSet(Request, Action[CreateCustomModelSetResult]):
    """Create a model set, the container of model versions. https://cloud.baidu.com/doc/qianfan-api/s/Pmnij91ff

    :param model_set_name: unique name.
    :param model_type: ``Text2Text``, ``Text2Image``, ``Embedding``, ``ImageUnderstanding`` …
    :param labels: labels of your own.
    """

    route: ClassVar[str] = ROUTE

    model_set_name: RequiredText
    model_type: RequiredText
    labels: Annotated[list[str] | None, BeforeValidator(read_json)] = None


class ModelSet(RemoteObject):
    """A model set as the service describes it."""

    noun: ClassVar[str] = "model set"
    id_name: ClassVar[str] = "model_set_id"
    results: ClassVar[tuple[str, ...]] = ("model_set_id",)
    id_member: ClassVar[str] = "model_set_id"
    record_key: ClassVar[str] = "qianfan_model_set"
    recognised_by: ClassVar[Recognition] = "name"
    name_member: ClassVar[str] = "model_set_name"

    model_set_id: str
    model_set_name: str | None = None
    model_type: str | None = None
    source: str | None = None
    labels: RowList[str] = Field(default_factory=list)
    model_ids: RowList[str] = Field(default_factory=list)
    model_names: RowList[str] = Field(default_factory=list)
    create_time: str | None = None
    modify_time: str | None = None
    description: str | None = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "model_set_id": self.model_set_id,
            "model_set_name": self.model_set_name,
            "model_type": self.model_type,
            "labels": self.labels,
            "model_ids": self.model_ids,
        }

    @classmethod
    def describe(cls, object_id: str) -> DescribeModelSet:
        """Return the request that reads one."""
        return DescribeModelSet(model_set_id=object_id)

    @classmethod
    def candidates(cls, client: QianfanClient, *, name: str, parent_id: str) -> Iterable[ModelSet]:
        """Return the model set that has the name, if there is one."""
        try:
            return [client.call(DescribeModelSet(model_set_name=name))]
        except (QianfanNotFoundError, QianfanRequestError):
            # Which code says that there is none is not documented; a Create tells for sure.
            return []


class DescribeModelSet(Request, Action[ModelSet]):
    """Describe a model set, found by id or by name. https://cloud.baidu.com/doc/qianfan-api/s/Rmnimjl8h

    :param model_set_id: the model set, ``am-…``.
    :param model_set_name: its name; give one of the two.
    """

    route: ClassVar[str] = ROUTE

    model_set_id: str | None = None
    model_set_name: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if not (self.model_set_id or self.model_set_name):
            raise MemberError("give one of the two", "modelSetId", "modelSetName")
        return self


class ModelSetPage(Page):
    """One page of model sets."""

    id_member: ClassVar[str] = "model_set_id"
    custom_model_set_list: RowList[ModelSet] = Field(default_factory=list)

    @property
    def rows(self) -> list[ModelSet]:
        """The model sets of this page."""
        return self.custom_model_set_list


class DescribeCustomModelSets(PagedRequest, Action[ModelSetPage]):
    """List the model sets of the account. https://cloud.baidu.com/doc/qianfan-api/s/Pmnilec50"""

    route: ClassVar[str] = ROUTE


class DeleteModelSet(Request, Action[Any]):
    """Delete a model set. https://cloud.baidu.com/doc/qianfan-api/s/7mniip3oc

    :param model_set_id: the model set, ``am-…``.
    """

    route: ClassVar[str] = ROUTE

    model_set_id: RequiredText
