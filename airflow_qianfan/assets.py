"""Assets of Airflow that stand for what Qianfan keeps: model sets, data sets and services.

``qianfan://<endpoint host>/model-sets/am-…`` gets an event with each new version. DAG files import this
module when they are parsed, so it imports Airflow only where something of it is made.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from airflow_qianfan.asset_uris import DEFAULT_ENDPOINT, asset_uri, told_by

if TYPE_CHECKING:
    from airflow.sdk import Asset


def model_set_asset(model_set_id: str, *, endpoint: str = DEFAULT_ENDPOINT) -> Asset:
    """Return the asset that gets an event with each version that operators publish into a model set.

    ``DAG(schedule=model_set_asset("am-…"))`` starts a DAG with each.

    :param model_set_id: the model set, ``am-…``.
    :param endpoint: the endpoint (host) of the connection with which they publish.
    """
    return _asset("model-sets", model_set_id, endpoint)


def dataset_asset(dataset_id: str, *, endpoint: str = DEFAULT_ENDPOINT) -> Asset:
    """Return the asset that gets an event with each version of a data set that operators publish.

    :param dataset_id: the data set, ``dg-…``.
    :param endpoint: see :func:`model_set_asset`.
    """
    return _asset("datasets", dataset_id, endpoint)


def service_asset(service_id: str, *, endpoint: str = DEFAULT_ENDPOINT) -> Asset:
    """Return the asset that gets an event with each version that operators deploy behind a service.

    :param service_id: the service, ``svco-…``.
    :param endpoint: see :func:`model_set_asset`.
    """
    return _asset("services", service_id, endpoint)


def watched_model_set_asset(
    model_set_id: str,
    *,
    endpoint: str = DEFAULT_ENDPOINT,
    qianfan_conn_id: str = "qianfan_default",
    poll_interval: float | None = None,
) -> Asset:
    """Return :func:`model_set_asset` with a watcher: it gets an event with each version that becomes Ready,
    whoever has published it, a person in the console too.

    :param model_set_id: the model set, ``am-…``.
    :param endpoint: the endpoint (host) of the connection.
    :param qianfan_conn_id: id of the connection with which the triggerer looks for versions.
    :param poll_interval: seconds between two polls; None takes ``[qianfan] poll_interval``.
    """
    from airflow.sdk import Asset, AssetWatcher

    from airflow_qianfan.triggers.model_version import QianfanModelVersionTrigger

    trigger = QianfanModelVersionTrigger(
        model_set_id=model_set_id, qianfan_conn_id=qianfan_conn_id, poll_interval=poll_interval
    )
    uri = asset_uri("model-sets", model_set_id, endpoint)
    return Asset(uri, watchers=[AssetWatcher(name=f"versions of {model_set_id}", trigger=trigger)])


def new_versions(triggering_asset_events: Mapping[Any, Iterable[Any]]) -> list[dict[str, Any]]:
    """Return what the events that started a DAG run tell, oldest first, each version once; in a task.

    Airflow may start one run for several events. Where a watcher has told a version twice, since its
    triggerer was killed in between, the second one is left out.

    :param triggering_asset_events: the entry of this name in the context of the task.
    :return: of each version ``model_set_id``, ``model_id``, ``state`` and more, or the like of data sets and
        services; see ``docs/assets.md``.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    events = [event for of_one in triggering_asset_events.values() for event in of_one]
    for event in sorted(events, key=lambda event: event.timestamp):
        told = told_by(event.extra)
        names = ("service_id", "model_set_id", "model_id", "dataset_version_id")
        ids = tuple((name, told[name]) for name in names if told.get(name) is not None)
        if ids and not (told.get("is_repeated") and _was_told_before(event, told["model_id"])):
            # A service may go back to a version: its latest word counts.
            found.pop(ids, None)
            found[ids] = told
    return list(found.values())


def _was_told_before(event: Any, model_id: str) -> bool:
    from airflow_qianfan.compat.assets import asset_events

    before = (other for other in asset_events(event.asset.uri) if other.timestamp < event.timestamp)
    return any(told_by(other.extra).get("model_id") == model_id for other in before)


def _asset(collection: str, object_id: str, endpoint: str) -> Asset:
    from airflow.sdk import Asset

    return Asset(asset_uri(collection, object_id, endpoint))
