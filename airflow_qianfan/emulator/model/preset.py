"""The models that the platform offers, and the advanced settings that imported models may have."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any, Literal

from airflow_qianfan.emulator.actions import Body, Call, Page, Text, page, parse
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.model.model_set import ROUTE, ModelSetKey
from airflow_qianfan.emulator.model.records import Model
from airflow_qianfan.emulator.model.version import ModelId
from airflow_qianfan.emulator.records import china_time

_SINCE = china_time(1_700_000_000)


@dataclass(frozen=True)
class Preset:
    """A preset model set with one version. It is the same for everybody, so it is no record."""

    name: str
    model: str
    application_type: str
    model_type: str

    @property
    def id(self) -> str:
        """The id of the set; that of its version has the same end."""
        return f"am-{hashlib.sha256(self.name.encode()).hexdigest()[:12]}"

    @property
    def model_id(self) -> str:
        """The id of the version."""
        return self.id.replace("am-", "amv-")

    def show(self) -> dict[str, Any]:
        """Return the set as a list shows it."""
        return {
            "modelSetId": self.id,
            "modelSetName": self.name,
            "modelType": self.model_type,
            "description": "",
            "modelCount": 1,
            "modelIds": [self.model_id],
            "modelNames": [self.model],
            "modifyTime": _SINCE,
        }


PRESETS = (
    Preset("ERNIE Speed", "ERNIE-Speed-8K", "chat", "Text2Text"),
    Preset("ERNIE Lite", "ERNIE-Lite-8K-0308", "chat", "Text2Text"),
    Preset("Stable-Diffusion-XL", "Stable-Diffusion-XL", "Text-to-Image", "Text2Image"),
)


class SystemConf(Body):
    # The official SDK does not send it.
    basic_model_name: Text | None = None
    model_format: Literal["HuggingFace.Transformers"]
    model_application_type: Literal["chat", "completion"]


@ROUTE.action("DescribeSystemModelSets")
def describe_presets(call: Call) -> Any:
    request = parse(Page, call.body)
    chosen, info = page(PRESETS, request, call.assumptions.newest_first)
    return {"systemModelSetList": [preset.show() for preset in chosen], "pageInfo": info}


@ROUTE.action("DescribeSystemModelSet")
def describe_preset(call: Call) -> Any:
    request = parse(ModelSetKey, call.body)
    wanted = request.model_set_id or request.model_set_name
    if wanted is None or (request.model_set_id and request.model_set_name):
        raise bad_parameter("modelSetId")
    member = "modelSetId" if request.model_set_id else "modelSetName"
    call.ids[member] = wanted
    for preset in PRESETS:
        if wanted == (preset.id if request.model_set_id else preset.name):
            shown = preset.show()
            del shown["modelCount"]
            return {**shown, "createTime": _SINCE}
    raise call.missing(member)


@ROUTE.action("DescribeSystemModel", shows_state=True)
def describe_preset_version(call: Call) -> Any:
    model_id = parse(ModelId, call.body).model_id
    call.ids["modelId"] = model_id
    for preset in PRESETS:
        if preset.model_id == model_id:
            return {
                "modelSetId": preset.id,
                "modelId": preset.model_id,
                "modelName": preset.model,
                "status": "Ready",
                "description": "",
                "createTime": _SINCE,
                "modifyTime": _SINCE,
                "modelApplicationType": preset.application_type,
                "tokenLimitations": {"trivial": {"inputTokens": 8192}},
                "isSupportDeploy": True,
                "isSupportModelComp": False,
                "isSupportEvaluation": True,
                "capabilities": [],
                "modelProviders": ["Baidu"],
            }
    raise call.missing("modelId")


@ROUTE.action("DescribeModelSystemAdvancedConf", needs_write_policy=True)
def describe_system_conf(call: Call) -> Any:
    parse(SystemConf, call.body)
    return "{}"


@ROUTE.action("DescribeModelCustomAdvancedConf")
def describe_custom_conf(call: Call) -> Any:
    model = call.find(Model, "modelId", parse(ModelId, call.body).model_id)
    return model.request.get("importMeta", {}).get("advanceConf") or "{}"
