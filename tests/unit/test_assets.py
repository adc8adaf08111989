"""URIs of assets, and what a DAG gets of their events."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_qianfan.api import config
from airflow_qianfan.asset_uris import DEFAULT_ENDPOINT, asset_uri
from airflow_qianfan.assets import (
    dataset_asset,
    model_set_asset,
    new_versions,
    service_asset,
    watched_model_set_asset,
)
from airflow_qianfan.compat import assets as kept

URI = "qianfan://qianfan.baidubce.com/model-sets/am-1"
NOW = datetime(2026, 1, 31, tzinfo=UTC)


@pytest.mark.parametrize(
    "given",
    [URI, f"{URI}/", "QIANFAN://Qianfan.BaiduBCE.com/model-sets/am-1", URI.replace(".com/", ".com:443/")],
)
def test_airflow_brings_a_uri_into_one_form(given):
    assert Asset(given).uri == URI
    assert Asset(given).normalized_uri == URI


def test_the_port_of_a_test_system_stays():
    assert (
        asset_uri("services", "svco-1", "http://127.0.0.1:8421/")
        == "qianfan://127.0.0.1:8421/services/svco-1"
    )


@pytest.mark.parametrize(
    ("uri", "problem"),
    [
        ("qianfan:///model-sets/am-1", "host is missing"),
        ("qianfan://host/models/am-1", "'models' is none of the collections model-sets, datasets, services"),
        ("qianfan://host", "'' is none of the collections"),
        ("qianfan://host/model-sets", "'' is not an id"),
        ("qianfan://host/model-sets/am-1/amv-1", "'am-1/amv-1' is not an id"),
        ("qianfan://host/model-sets/{{ x }}", "'{{ x }}' is not an id"),
        ("qianfan://key@host/model-sets/am-1", "must not hold a user"),
        ("qianfan://host/model-sets/am-1?version=2", "must end with the id"),
    ],
)
def test_another_uri_is_refused_with_what_is_wrong(uri, problem):
    with pytest.raises(ValueError, match=r"qianfan://qianfan\.baidubce\.com/model-sets/am-…") as error:
        Asset(uri)
    assert problem in str(error.value)


def test_an_asset_needs_one_line():
    assert model_set_asset("am-1") == Asset(URI)
    assert dataset_asset("dg-1").uri == "qianfan://qianfan.baidubce.com/datasets/dg-1"
    assert service_asset("svco-1").uri == "qianfan://qianfan.baidubce.com/services/svco-1"
    assert DEFAULT_ENDPOINT == config.DEFAULT_ENDPOINT


def test_a_watched_asset_is_the_same_asset_with_a_watcher():
    asset = watched_model_set_asset("am-1", qianfan_conn_id="other", poll_interval=60.0)
    assert asset.uri == URI
    (watcher,) = asset.watchers
    path, arguments = watcher.trigger.serialize()
    assert path == "airflow_qianfan.triggers.model_version.QianfanModelVersionTrigger"
    assert arguments == {"model_set_id": "am-1", "qianfan_conn_id": "other", "poll_interval": 60.0}


def test_importing_the_module_loads_neither_airflow_nor_a_client():
    code = (
        "import sys, airflow_qianfan.assets\n"
        "print({'airflow', 'pydantic', 'httpx'} & {name.partition('.')[0] for name in sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# --- what a DAG gets


@dataclass
class Event:
    extra: dict[str, Any]
    age: float = 0.0
    asset: Any = field(default_factory=lambda: SimpleNamespace(uri=URI))

    @property
    def timestamp(self) -> datetime:
        return NOW - timedelta(seconds=self.age)


def by_operator(model_id: str, **more: Any) -> dict[str, Any]:
    return {"model_set_id": "am-1", "model_id": model_id, "state": "Ready", **more}


def by_watcher(model_id: str, **more: Any) -> dict[str, Any]:
    payload = {"is_repeated": False, **by_operator(model_id), **more}
    return {"from_trigger": True, "payload": payload}


def test_a_dag_gets_each_version_once_oldest_first():
    events = [Event(by_watcher("amv-2"), 1), Event(by_operator("amv-1"), 2), Event(by_operator("amv-2"))]
    found = new_versions({URI: events, "qianfan:model-sets": events[1:2]})
    assert [version["model_id"] for version in found] == ["amv-1", "amv-2"]


def test_a_service_that_serves_a_version_is_another_thing_than_the_version():
    deployed = by_operator("amv-1", service_id="svco-1")
    assert new_versions({URI: [Event(by_operator("amv-1"), 1), Event(deployed)]}) == [
        by_operator("amv-1"),
        deployed,
    ]


@pytest.mark.parametrize("extra", [{}, {"from_trigger": True, "payload": None}, {"x": 1}])
def test_events_that_are_not_of_this_package_are_left_out(extra):
    assert new_versions({URI: [Event(extra)]}) == []


def test_what_a_watcher_has_told_before_it_was_killed_is_left_out(monkeypatch):
    repeated = Event(by_watcher("amv-1", is_repeated=True))
    stored = [repeated]
    monkeypatch.setattr(kept, "asset_events", lambda uri: stored if uri == URI else [])
    assert len(new_versions({URI: [repeated]})) == 1, "the first one was lost with the triggerer"
    stored.insert(0, Event(by_watcher("amv-1"), 30))
    assert new_versions({URI: [repeated]}) == []
