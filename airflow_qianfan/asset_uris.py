"""URIs of assets, ``qianfan://<endpoint host>/model-sets/am-…``, and what their events tell."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from urllib.parse import SplitResult

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
    return normalize_uri(urlsplit(f"{endpoint_uri(endpoint)}/{collection}/{object_id}")).geturl()


def endpoint_uri(endpoint: str) -> str:
    """Return what the URIs of all that is kept at an endpoint begin with.

    :param endpoint: such as ``https://qianfan.baidubce.com``, or the host alone.
    """
    return f"{SCHEME}://{_host(urlsplit(endpoint if '://' in endpoint else f'//{endpoint}').netloc)}"


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


def _host(netloc: str) -> str:
    host = netloc.lower()
    for port in _DEFAULT_PORTS:
        host = host.removesuffix(port)
    return host
