"""One event of an asset for each version, beside earlier attempts and a watcher that may tell of it, too."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from airflow_qianfan.asset_uris import told_by
from airflow_qianfan.compat import AirflowRuntimeError
from airflow_qianfan.compat.assets import asset_events, asset_memory
from airflow_qianfan.triggers.base.watch import VERSIONS, Seen, claim_key

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import Logger

    from airflow_qianfan.compat.assets import Memory


def emit_once(
    context: Context,
    log: Logger,
    uri: str,
    extra: dict[str, Any],
    *,
    alias: str,
    version_name: str,
    is_watched: bool,
    only_latest: bool,
) -> None:
    """Have Airflow store an event when the task succeeds, unless there is one of this version.

    :param context: context of the running task.
    :param log: the log of the task.
    :param uri: of the asset.
    :param extra: what the event tells.
    :param alias: the asset alias that is an outlet of the task.
    :param version_name: which member of ``extra`` is the id of the version.
    :param is_watched: whether a watcher may tell of it.
    :param only_latest: whether the version may come back, so that only the latest event counts.
    """
    from airflow.sdk import Asset, AssetAlias
    from airflow.sdk.definitions.asset import AssetUriRef
    from airflow.sdk.exceptions import ErrorType

    version_id = extra[version_name]
    accessors: Any = context["outlet_events"]
    watched = asset_memory(uri) if is_watched else None
    if watched is not None and Seen.load(watched.get(VERSIONS)) is None:
        watched = None
    for outlet in context["task"].outlets:
        if isinstance(outlet, (Asset, AssetUriRef)) and outlet.uri == uri:
            # The user's own outlet: Airflow makes an event of it in any case.
            if watched is not None:
                _claim(watched, context, version_id)
            accessors[outlet].extra = extra
            return
    if watched is not None and extra.get("state") is None:
        log.info("No asset event: the watcher of %s tells of %s when it is Ready.", uri, version_id)
        return

    def was_told() -> bool:
        events = asset_events(uri)
        return version_id in [
            told_by(event.extra).get(version_name) for event in (events[-1:] if only_latest else events)
        ]

    if was_told() or (watched is not None and _is_left_to_watcher(watched, context, version_id, was_told)):
        log.info("No asset event: %s was told of %s already.", uri, version_id)
        return
    try:
        # It may have a name of its own.
        accessors[AssetAlias(alias)].add(Asset.ref(uri=uri), extra)
    except AirflowRuntimeError as error:
        if error.error.error is not ErrorType.ASSET_NOT_FOUND:
            raise
        accessors[AssetAlias(alias)].add(Asset(uri), extra)
    log.info("Asset event: %s has %s.", uri, version_id)


def _claim(memory: Memory, context: Context, model_id: str) -> None:
    ti: Any = context["ti"]
    names = ("dag_id", "run_id", "task_id", "map_index")
    memory.set(claim_key(model_id), {name: getattr(ti, name) for name in names})


def _is_left_to_watcher(
    memory: Memory, context: Context, model_id: str, was_told: Callable[[], bool]
) -> bool:
    """Return whether a watcher tells of a version; else it is told that this task does.

    See :mod:`airflow_qianfan.triggers.base.watch`.
    """
    _claim(memory, context, model_id)
    seen = Seen.load(memory.get(VERSIONS))
    if seen is None or model_id not in (*seen.told, *seen.telling):
        return False
    memory.delete(claim_key(model_id))
    # A version that the watcher found when it began counts as told, and there is no event of it.
    return model_id not in seen.told or was_told()
