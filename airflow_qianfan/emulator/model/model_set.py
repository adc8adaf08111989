"""The Actions of model sets."""

from __future__ import annotations

from typing import Any, Literal

from airflow_qianfan.emulator.actions import Body, Call, Page, Route, Text, page, parse
from airflow_qianfan.emulator.errors import bad_parameter
from airflow_qianfan.emulator.model.records import Model, ModelSet
from airflow_qianfan.emulator.records import new_id

ROUTE = Route("/v2/model")


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
    # Also those that a compression will put there.
    versions = call.store.table(Model).values()
    models = [model for model in versions if model.model_set_id == model_set.id]
    if models and call.assumptions.delete_model_set_with_models == "refuse":
        raise call.wrong_state("The model still has versions.")
    for model in models:
        call.remove(model)
    call.remove(model_set)
    call.ids["modelIds"] = [model.id for model in models]
    return {}
