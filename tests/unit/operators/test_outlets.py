"""Which operators emit asset events, and the outlets that they have for that."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.exceptions import AirflowRuntimeError, ErrorType
from airflow.sdk.execution_time.comms import ErrorResponse
from provided import OPERATORS

from airflow_qianfan.asset_uris import COLLECTIONS, asset_uri
from airflow_qianfan.operators.base import asset_event
from airflow_qianfan.operators.base.publish import QianfanPublishingOperator
from airflow_qianfan.operators.model import QianfanCreateCustomModelOperator
from airflow_qianfan.triggers.base.watch import VERSIONS, claim_key

URI = asset_uri("model-sets", "am-1")
ALIAS = "qianfan:model-sets"
EXTRA = {"model_set_id": "am-1", "model_id": "amv-1", "state": "Ready"}
TASK = {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1}
PUBLISHING = [operator for operator in OPERATORS if issubclass(operator, QianfanPublishingOperator)]


def test_operators_that_publish_have_an_outlet():
    names = {operator.__name__ for operator in PUBLISHING}
    assert names == {
        "QianfanCreateCustomModelOperator",
        "QianfanCreateModelCompTaskOperator",
        "QianfanModelCompressionOperator",
        "QianfanCreateServiceOperator",
        "QianfanServiceOperator",
        "QianfanDatasetOperator",
        "QianfanPublishDatasetVersionOperator",
    }
    assert {operator.asset_collection for operator in PUBLISHING} == set(COLLECTIONS)


def test_the_outlet_is_an_alias_beside_those_of_the_user():
    mine = Asset("file:///mine")
    given = [mine]
    operator = QianfanCreateCustomModelOperator(task_id="it", model_set_id="am-1", outlets=given)
    assert operator.outlets == [mine, AssetAlias("qianfan:model-sets")]
    assert given == [mine]
    silent = QianfanCreateCustomModelOperator(task_id="it", model_set_id="am-1", emit_asset=False)
    assert silent.outlets == []


# --- beside a watcher


class Memory:
    """What Airflow keeps of the asset. ``on_claim`` is called when a claim is put down."""

    def __init__(self, **values: Any) -> None:
        self.values = values
        self.on_claim = lambda: None

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.values[key] = value
        self.on_claim()

    def delete(self, key: str) -> None:
        del self.values[key]


class Accessor:
    def __init__(self) -> None:
        self.added: list[tuple[Any, Any]] = []
        self.own: dict[str, Any] = {}

    def __getitem__(self, outlet: Any) -> Any:
        if outlet == AssetAlias(ALIAS):
            return self
        return self.own.setdefault(outlet.uri, SimpleNamespace())

    def add(self, asset: Any, extra: Any) -> None:
        self.added.append((asset.uri, extra))


def emit(
    monkeypatch: pytest.MonkeyPatch,
    memory: Memory,
    *,
    told: list[Any] | None = None,
    outlet: Any = None,
    **more: Any,
) -> list[tuple[Any, Any]]:
    """Emit an event, and return what Airflow is to store.

    :param told: what earlier events have told.
    :param outlet: an outlet of the user's own.
    :param more: more that the event tells.
    """
    events = [SimpleNamespace(extra=extra) for extra in told or ()]
    monkeypatch.setattr(asset_event, "asset_events", lambda uri: events)
    monkeypatch.setattr(asset_event, "asset_memory", lambda uri: memory)
    accessor = Accessor()
    task = SimpleNamespace(outlets=[*([outlet] if outlet else []), AssetAlias(ALIAS)])
    context: Any = {"outlet_events": accessor, "task": task, "ti": SimpleNamespace(**TASK)}
    log: Any = SimpleNamespace(info=lambda *_: None)
    asset_event.emit_once(
        context,
        log,
        URI,
        EXTRA | more,
        alias=ALIAS,
        version_name="model_id",
        is_watched=True,
        only_latest=False,
    )
    return accessor.added


def test_a_set_that_nobody_watches_gets_no_claim(monkeypatch):
    memory = Memory()
    assert emit(monkeypatch, memory) == [(URI, EXTRA)]
    assert memory.values == {}


def test_a_watched_set_gets_a_claim_for_as_long_as_the_watcher_needs_it(monkeypatch):
    memory = Memory(**{VERSIONS: {"told": ["amv-0"], "telling": {}}})
    assert emit(monkeypatch, memory) == [(URI, EXTRA)]
    assert memory.values[claim_key("amv-1")] == TASK


@pytest.mark.parametrize(
    "seen", [{"told": ["amv-1"], "telling": {}}, {"told": [], "telling": {"amv-1": 1.0}}]
)
def test_what_a_watcher_tells_is_left_to_it(monkeypatch, seen):
    memory = Memory(**{VERSIONS: seen})
    told = [EXTRA] if seen["told"] else []
    assert emit(monkeypatch, memory, told=told) == []
    assert memory.values == {VERSIONS: seen}


def test_a_version_that_was_there_when_the_watcher_began_is_told_by_its_task(monkeypatch):
    seen = {"told": ["amv-1"], "telling": {}}
    memory = Memory(**{VERSIONS: seen})
    assert emit(monkeypatch, memory) == [(URI, EXTRA)]
    assert memory.values == {VERSIONS: seen}


@pytest.mark.parametrize("outlet", [Asset(URI), Asset.ref(uri=URI)], ids=["asset", "reference"])
def test_an_outlet_of_the_user_is_told_and_the_watcher_knows_it(monkeypatch, outlet):
    memory = Memory(**{VERSIONS: {"told": [], "telling": {}}})
    assert emit(monkeypatch, memory, outlet=outlet) == [], "no second event by the alias"
    assert memory.values[claim_key("amv-1")] == TASK


def test_a_version_that_is_not_ready_is_left_to_the_watcher(monkeypatch):
    watched = Memory(**{VERSIONS: {"told": [], "telling": {}}})
    assert emit(monkeypatch, watched, state=None) == []
    assert claim_key("amv-1") not in watched.values
    assert emit(monkeypatch, Memory(), state=None) == [(URI, EXTRA | {"state": None})]


def test_a_watcher_that_begins_to_tell_in_this_moment_is_seen(monkeypatch):
    memory = Memory(**{VERSIONS: {"told": [], "telling": {}}})
    memory.on_claim = lambda: memory.values.update({VERSIONS: {"told": [], "telling": {"amv-1": 1.0}}})
    assert emit(monkeypatch, memory) == []
    assert claim_key("amv-1") not in memory.values


def test_airflow_is_asked_by_which_name_it_knows_the_asset(monkeypatch):
    def add(self: Accessor, asset: Any, extra: Any) -> None:
        if not isinstance(asset, Asset):
            raise AirflowRuntimeError(ErrorResponse(error=ErrorType.ASSET_NOT_FOUND))
        self.added.append((asset.name, extra))

    monkeypatch.setattr(Accessor, "add", add)
    assert emit(monkeypatch, Memory()) == [(URI, EXTRA)]
