"""Which models can be trained, and how."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

from pydantic import BeforeValidator, Field

from airflow_qianfan.api.actions.base import Action, Request, Result
from airflow_qianfan.api.actions.finetuning.job import ROUTE


def _objects(value: Any) -> Any:
    """Leave out what is no object: no document says what rows there are, and one must not hide the others."""
    return [row for row in value if isinstance(row, (dict, Result))] if isinstance(value, list) else ()


class HyperParameter(Result):
    """A hyper-parameter, and which values it may have.

    ``check_type`` says what ``check_value`` is: ``range`` (least and most; one entry is a fixed value),
    ``choice`` or ``mult_choice`` (a list of these).
    """

    key: str = ""
    type: str | None = None
    check_type: str | None = None
    check_value: Any = None
    default: Any = None

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "key": self.key,
            "type": self.type,
            "check_type": self.check_type,
            "check_value": self.check_value,
            "default": self.default,
        }


class SupportedScale(Result):
    """A parameter scale, and its hyper-parameters."""

    parameter_scale: str = ""
    support_hyper_parameter_config: Annotated[list[HyperParameter], BeforeValidator(_objects)] = Field(
        default_factory=list
    )

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        rows = [parameter.output() for parameter in self.support_hyper_parameter_config]
        return {"parameter_scale": self.parameter_scale, "hyper_parameters": rows}


class SupportedMode(Result):
    """A train mode, and its parameter scales; one scale may come twice."""

    train_mode: str = ""
    support_parameter_scale: Annotated[list[SupportedScale], BeforeValidator(_objects)] = Field(
        default_factory=list
    )

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        rows = [scale.output() for scale in self.support_parameter_scale]
        return {"train_mode": self.train_mode, "parameter_scales": rows}


class SupportedModel(Result):
    """A base model, and how it can be trained."""

    model: str = ""
    model_type: str | None = None
    base_model: str | None = None
    support_train_mode: Annotated[list[SupportedMode], BeforeValidator(_objects)] = Field(
        default_factory=list
    )

    def output(self) -> dict[str, Any]:
        """Return what a DAG works with, fit for XCom."""
        return {
            "model": self.model,
            "model_type": self.model_type,
            "base_model": self.base_model,
            "train_modes": [mode.output() for mode in self.support_train_mode],
        }


class DescribeFineTuningSupportModels(Request, Action[list[SupportedModel]]):
    """List which models can be trained, and how. https://ai.baidu.com/ai-doc/WENXINWORKSHOP/clwgbz367

    The page has the table; no page describes the Action, which the official SDK calls.
    """

    route: ClassVar[str] = ROUTE
