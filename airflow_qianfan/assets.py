"""Assets of Airflow that stand for what Qianfan keeps: model sets, data sets and services.

``qianfan://<endpoint host>/model-sets/am-…`` gets an event with each new version. DAG files import this
module when they are parsed, so it imports Airflow only where something of it is made.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

    from airflow.sdk import Asset

SCHEME = "qianfan"

DEFAULT_ENDPOINT = "https://qianfan.baidubce.com"


class Collection(NamedTuple):
    """What assets of a collection stand for.

    :param id_name: the name in operators of the id at the end of the URI.
    :param version_name: the name in operators, and in events, of the id of what is new in it.
    :param is_watched: whether there is a watcher for it.
    :param is_replaced: whether a version may come back after another one.
    """

    id_name: str
    version_name: str
    is_watched: bool = False
    is_replaced: bool = False


COLLECTIONS: Mapping[str, Collection] = {
    "model-sets": Collection("model_set_id", "model_id", is_watched=True),
    "datasets": Collection("dataset_id", "dataset_version_id"),
    "services": Collection("service_id", "model_id", is_replaced=True),
}

_DEFAULT_PORTS = (":443", ":80")


def normalize_uri(parts: SplitResult) -> SplitResult:
    """Return the parts of an asset's URI in the one form in which Airflow compares them.

    :param parts: of ``qianfan://<endpoint host>/<collection>/<id>``, where collection is ``model-sets``,
        ``datasets`` or ``services``.
    :raises ValueError: it has another form; the message says which one is expected.
    """
    collection, _, object_id = parts.path.strip("/").partition("/")
    known = ", ".join(COLLECTIONS)
    if not parts.hostname:
        problem = "the endpoint's host is missing"
    elif parts.username or parts.password:
        problem = "it must not hold a user or a key"
    elif parts.query or parts.fragment:
        problem = "it must end with the id"
    elif collection not in COLLECTIONS:
        problem = f"{collection!r} is none of the collections {known}"
    elif not re.fullmatch(r"[\w.~-]+", object_id, re.ASCII):
        problem = f"{object_id!r} is not an id"
    else:
        return parts._replace(scheme=SCHEME, netloc=_host(parts.netloc), path=f"/{collection}/{object_id}")
    raise ValueError(
        f"An asset of Qianfan must look like {SCHEME}://{urlsplit(DEFAULT_ENDPOINT).netloc}/model-sets/am-…: "
        f"{problem}"
    )


def asset_uri(collection: str, object_id: str, endpoint: str = DEFAULT_ENDPOINT) -> str:
    """Return the URI of an asset.

    :param collection: ``model-sets``, ``datasets`` or ``services``.
    :param object_id: the id of the model set, data set or service.
    :param endpoint: the endpoint (host) of the connection.
    :raises ValueError: one of them cannot stand in such a URI.
    """
    host = urlsplit(endpoint if "://" in endpoint else f"//{endpoint}").netloc
    return normalize_uri(urlsplit(f"{SCHEME}://{host}/{collection}/{object_id}")).geturl()


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
            found.setdefault(ids, told)
    return list(found.values())


def _was_told_before(event: Any, model_id: str) -> bool:
    from airflow_qianfan.compat import asset_events

    before = (other for other in asset_events(event.asset.uri) if other.timestamp < event.timestamp)
    return any(told_by(other.extra).get("model_id") == model_id for other in before)


def told_by(extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an asset event tells, whether an operator or a watcher has made it.

    :param extra: its ``extra``.
    """
    payload = extra.get("payload") if extra.get("from_trigger") else extra
    return dict(payload) if isinstance(payload, Mapping) else {}


def alias_name(collection: str) -> str:
    """Return the name of the asset alias that stands for all assets of a collection.

    :param collection: such as ``model-sets``.
    """
    return f"{SCHEME}:{collection}"


def _asset(collection: str, object_id: str, endpoint: str) -> Asset:
    from airflow.sdk import Asset

    return Asset(asset_uri(collection, object_id, endpoint))


def _host(netloc: str) -> str:
    host = netloc.lower()
    for port in _DEFAULT_PORTS:
        host = host.removesuffix(port)
    return host
