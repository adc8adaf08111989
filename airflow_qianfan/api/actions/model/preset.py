"""Models that the platform offers (预置模型), and the advanced settings that imported models may have."""

from __future__ import annotations

import json
from typing import Any, ClassVar, Self

from pydantic import Field, model_validator

from airflow_qianfan.api.actions.base import (
    Action,
    MemberError,
    Page,
    PagedRequest,
    Request,
    RequiredText,
    Result,
    RowList,
)
from airflow_qianfan.api.actions.model.model_set import ROUTE


class SystemModelSet(Result):
    """A preset model set."""

    model_set_id: str
    model_set_name: str | None = None
    model_type: str | None = None
    description: str | None = None
    model_ids: RowList[str] = Field(default_factory=list)
    model_names: RowList[str] = Field(default_factory=list)
    create_time: str | None = None
    modify_time: str | None = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "model_set_id": self.model_set_id,
            "model_set_name": self.model_set_name,
            "model_type": self.model_type,
            "description": self.description,
            "model_ids": self.model_ids,
            "model_names": self.model_names,
        }


class SystemModelSetPage(Page):
    """One page of preset model sets."""

    id_member: ClassVar[str] = "model_set_id"
    system_model_set_list: RowList[SystemModelSet] = Field(default_factory=list)

    @property
    def rows(self) -> list[SystemModelSet]:
        """The model sets of this page."""
        return self.system_model_set_list


class DescribeSystemModelSets(PagedRequest, Action[SystemModelSetPage]):
    """List the preset model sets. https://cloud.baidu.com/doc/qianfan-api/s/imnimpnf7"""

    route: ClassVar[str] = ROUTE


class DescribeSystemModelSet(Request, Action[SystemModelSet]):
    """Describe a preset model set, by id or by name. https://ai.baidu.com/ai-doc/WENXINWORKSHOP/Lm3s3u253

    :param model_set_id: the model set, ``am-…``.
    :param model_set_name: its name, such as ``ERNIE Lite``; give exactly one of the two.
    """

    route: ClassVar[str] = ROUTE

    model_set_id: str | None = None
    model_set_name: str | None = None

    @model_validator(mode="after")
    def _one_of_two(self) -> Self:
        if bool(self.model_set_id) == bool(self.model_set_name):
            raise MemberError("give exactly one of the two", "modelSetId", "modelSetName")
        return self


class SystemModel(Result):
    """A preset model version."""

    model_id: str
    model_set_id: str | None = None
    model_name: str | None = None
    status: str | None = None
    description: str | None = None
    model_application_type: str | None = None
    token_limitations: Any = None
    is_support_deploy: bool | None = None
    is_support_model_comp: bool | None = None
    is_support_evaluation: bool | None = None
    capabilities: RowList[str] = Field(default_factory=list)
    model_providers: RowList[str] = Field(default_factory=list)
    create_time: str | None = None
    modify_time: str | None = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "model_id": self.model_id,
            "model_set_id": self.model_set_id,
            "model_name": self.model_name,
            "status": self.status,
            "description": self.description,
            "model_application_type": self.model_application_type,
            "token_limitations": self.token_limitations,
            "is_support_deploy": self.is_support_deploy,
            "is_support_model_comp": self.is_support_model_comp,
            "is_support_evaluation": self.is_support_evaluation,
            "capabilities": self.capabilities,
        }


class DescribeSystemModel(Request, Action[SystemModel]):
    """Describe a preset model version. https://cloud.baidu.com/doc/qianfan-api/s/7mnimyrcg

    :param model_id: the version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    model_id: RequiredText


class AdvancedConf(Result):
    """Advanced settings, which the service sends as JSON text."""

    advance_conf: str = ""

    @model_validator(mode="before")
    @classmethod
    def _text(cls, data: Any) -> Any:
        return {"advance_conf": data if isinstance(data, str) else json.dumps(data or {})}

    def output(self) -> dict[str, Any]:
        """Return the text, as ``importMeta`` takes it, and what it holds."""
        try:
            settings = json.loads(self.advance_conf)
        except (ValueError, RecursionError):
            settings = None
        return {"advance_conf": self.advance_conf, "settings": settings}


class DescribeModelSystemAdvancedConf(Request, Action[AdvancedConf]):
    """Show the settings that a model is imported with. https://cloud.baidu.com/doc/qianfan-api/s/Dmnikcy0e

    Although it only reads, its key needs a policy for writing.

    :param basic_model_name: base model, or ``HuggingFace``.
    :param model_format: ``HuggingFace.Transformers``.
    :param model_application_type: ``chat`` or ``completion``.
    """

    route: ClassVar[str] = ROUTE

    basic_model_name: RequiredText
    model_format: RequiredText
    model_application_type: RequiredText


class DescribeModelCustomAdvancedConf(Request, Action[AdvancedConf]):
    """Show the advanced settings of a model version. https://cloud.baidu.com/doc/qianfan-api/s/lmnilunwq

    :param model_id: the version, ``amv-…``.
    """

    route: ClassVar[str] = ROUTE

    model_id: RequiredText
