"""What OpenLineage is told of a task: what it has made, and from what; docs/lineage.md shows it.

OpenLineage is imported when Airflow asks, which it does where its provider is installed. A task must not fail
because of its lineage, so nothing here raises.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan.asset_uris import endpoint_uri

if TYPE_CHECKING:
    from airflow.providers.openlineage.extractors.base import OperatorLineage

    from airflow_qianfan.api.objects import RemoteObject

COLLECTIONS: Mapping[str, str] = {
    "dataset_id": "datasets",
    "dataset_version_id": "dataset-versions",
    "fine_tuning_task_id": "fine-tuning-tasks",
    "model_set_id": "model-sets",
    "model_id": "model-versions",
    "eval_task_id": "evaluations",
    "service_id": "services",
}
"""Where something with such an id stands in the names of data sets. The versions stand by themselves, since
who reads one often knows its id alone."""

_MADE_FROM: Mapping[str, str] = {
    "dataset_version_id": "dataset_version_id",
    "versionId": "dataset_version_id",
    "version_id": "dataset_version_id",
    "fine_tuning_task_id": "fine_tuning_task_id",
    "increment_task_id": "fine_tuning_task_id",
    "taskId": "fine_tuning_task_id",
    "task_id": "fine_tuning_task_id",
    "model_id": "model_id",
    "modelId": "model_id",
    "source_model_id": "model_id",
}
"""Arguments, and members of objects in arguments, that name what something is made from; and what that is."""

_FILES = ("files", "input_bos_uri", "versionBosUri", "version_bos_uri")
"""Arguments, and members of objects in arguments, that hold addresses of files to read."""

_ID = re.compile(r"[\w.~-]+", re.ASCII)

Name = tuple[str, str]
"""Namespace and name of a data set of OpenLineage."""


def lineage_of(operator: Any) -> OperatorLineage[Any, Any] | None:
    """Return what OpenLineage is told of a task that has ended; None where that is nothing.

    :param operator: the operator that has run, in the process that has ended the task. Its ``result`` is what
        it has returned; None where it has failed.
    """
    try:
        from airflow.providers.openlineage.extractors.base import OperatorLineage
        from openlineage.client.event_v2 import Dataset
        from openlineage.client.facet_v2 import RunFacet
    except ImportError:
        return None
    try:
        namespace = endpoint_uri(operator.hook.client.endpoint)
        result = operator.result if isinstance(operator.result, Mapping) else {}
        outputs = list(dict.fromkeys(_outputs(namespace, operator.kind, result)))
        inputs = list(dict.fromkeys(_inputs(namespace, operator)))
        return OperatorLineage(
            inputs=[Dataset(*name) for name in inputs if name not in outputs],
            outputs=[Dataset(*name) for name in outputs],
            run_facets={
                name: RunFacet().with_additional_properties(**_as_json(members))
                for name, members in _facets(operator, result).items()
            },
        )
    except Exception as error:
        # Its text is not shown: that of an error we do not know might hold anything, secrets too.
        operator.log.warning("OpenLineage is told nothing of what this task made: %s.", type(error).__name__)
        return None


def _outputs(namespace: str, kind: type[RemoteObject], result: Mapping[str, Any]) -> Iterator[Name]:
    for name in kind.results:
        if name in COLLECTIONS:
            yield from _object(namespace, name, result.get(name))
        else:
            yield from _file(result.get(name))


def _inputs(namespace: str, operator: Any) -> Iterator[Name]:
    # What is changed, such as the version that files are imported into, is no input, also after a failure.
    for name in type(operator).arguments:
        if name not in operator.kind.results:
            yield from _named_in(namespace, name, getattr(operator, name))


def _named_in(namespace: str, name: str, value: Any) -> Iterator[Name]:
    """Yield what an argument, or a member of an object in it, names."""
    value = _read(value)
    if isinstance(value, Mapping):
        bucket, path = value.get("bucket"), value.get("objectPath") or value.get("object_path")
        if bucket and path:
            yield from _file(f"bos:/{bucket}/{path}")
        for inner, each in value.items():
            yield from _named_in(namespace, inner, each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _named_in(namespace, name, each)
    elif name in _FILES:
        yield from _file(value)
    elif name in _MADE_FROM:
        yield from _object(namespace, _MADE_FROM[name], value)


def _object(namespace: str, id_name: str, object_id: Any) -> Iterator[Name]:
    if isinstance(object_id, str) and _ID.fullmatch(object_id):
        yield namespace, f"{COLLECTIONS[id_name]}/{object_id}"


def _file(address: Any) -> Iterator[Name]:
    """Yield what an address ``bos:/bucket/path`` leads to. Others may hold a signature."""
    if isinstance(address, str) and address.startswith("bos:/"):
        bucket, _, path = address.removeprefix("bos:").lstrip("/").partition("/")
        if bucket and path.strip("/"):
            yield f"bos://{bucket}", path.strip("/")


def _facets(operator: Any, result: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the facets of the run and their members: what is known of base model, arguments and metrics."""
    names = ("train_mode", "parameter_scale")
    told: dict[str, Any] = {name: getattr(operator, name, None) for name in names}
    facets = {
        "qianfan_object": {
            "kind": operator.kind.noun,
            "id": getattr(operator, "object_id", None) or result.get(operator.kind.id_name),
            "status": result.get("status"),
            "consoleUrl": operator.console_url,
        },
        "qianfan_baseModel": {
            "model": getattr(operator, "model", None) or result.get("model"),
            "trainMode": told["train_mode"],
            "parameterScale": told["parameter_scale"],
        },
        "qianfan_hyperParameters": {"values": _read(getattr(operator, "hyper_parameter_config", None))},
        "qianfan_metrics": {"values": result.get("metrics")},
    }
    main = {"qianfan_object": "id", "qianfan_baseModel": "model"}
    known = {
        name: {member: value for member, value in members.items() if value is not None}
        for name, members in facets.items()
    }
    return {name: members for name, members in known.items() if members.get(main.get(name, "values"))}


def _as_json(value: Any) -> Any:
    """Return a copy with None for what JSON cannot express, such as NaN."""
    return json.loads(json.dumps(value, default=lambda _: None), parse_constant=lambda _: None)


def _read(value: Any) -> Any:
    """Return the object that stands in an argument as JSON text; what is no object as it is."""
    from airflow_qianfan.api.actions.base import read_json

    try:
        return read_json(value)
    except ValueError:
        return None
