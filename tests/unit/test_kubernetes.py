"""The Helm values and the Dockerfile of ``docs/kubernetes``: what they name exists."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml
from airflow.configuration import conf
from airflow.sdk import Connection

from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.hooks.qianfan import QianfanHook

ROOT = Path(__file__).parent.parent.parent
FOLDER = ROOT / "docs" / "kubernetes"
PAGE = (ROOT / "docs" / "kubernetes.md").read_text()
VALUES = "values.yaml"
SECRET, VAULT = "connection-secret.yaml", "connection-vault.yaml"

QUANTITY = re.compile(r"\d+(\.\d+)?(m|Ki|Mi|Gi)?")
EXECUTORS = re.compile(r"([A-Z][a-zA-Z0-9]+Executor)(,[A-Z][a-zA-Z0-9]+Executor)*")
#: The keys that are used, with what the chart's ``values.schema.json`` allows there: a type, or a form of
#: text. A ``*`` stands for any one key.
SCHEMA: dict[str, type | tuple[type, ...] | re.Pattern[str]] = {
    "airflowVersion": str,
    "images.airflow.repository": str,
    "images.airflow.tag": str,
    "executor": EXECUTORS,
    "config.*.*": (str, int, float, bool),
    "secret.envName": str,
    "secret.secretName": str,
    "secret.secretKey": str,
    "scheduler.replicas": int,
    "triggerer.terminationGracePeriodSeconds": int,
    "triggerer.resources.requests.*": QUANTITY,
    "triggerer.resources.limits.*": QUANTITY,
    "triggerer.keda.enabled": bool,
    "triggerer.keda.minReplicaCount": int,
    "triggerer.keda.maxReplicaCount": int,
    "workers.resources.requests.*": QUANTITY,
    "workers.resources.limits.*": QUANTITY,
    # From 1.20 on, by the chart's release notes; before, it is ``workers.terminationGracePeriodSeconds``.
    "workers.kubernetes.terminationGracePeriodSeconds": int,
}


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """All values with their paths; the items of a list have that of the list."""
    if isinstance(value, Mapping):
        for key, member in value.items():
            yield from leaves(member, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    else:
        yield path, value


def allowed(path: str) -> Any:
    for pattern, kind in SCHEMA.items():
        if re.fullmatch(pattern.replace(".", r"\.").replace("*", "[^.]+"), path):
            return kind
    return None


@pytest.mark.parametrize("name", [VALUES, SECRET, VAULT])
def test_the_chart_knows_every_value(name):
    for path, value in leaves(read(name)):
        kind = allowed(path)
        assert kind is not None, path
        if isinstance(kind, re.Pattern):
            assert kind.fullmatch(str(value)), (path, value)
        else:
            assert isinstance(value, kind), (path, value)
            assert kind is not int or not isinstance(value, bool), (path, value)


@pytest.mark.parametrize("name", [VALUES, VAULT])
def test_airflow_or_this_provider_has_every_setting(name):
    for section, options in read(name)["config"].items():
        # Which settings providers have, Airflow 3.1 reads late.
        described = get_provider_info()["config"] if section == "qianfan" else conf.configuration_description
        known = described[section]["options"]
        assert set(options) <= set(known), section


def test_the_settings_of_this_provider_are_its_defaults():
    """Whoever copies the file sees what there is to set, and changes nothing by it."""
    options = get_provider_info()["config"]["qianfan"]["options"]
    for name, value in read(VALUES)["config"]["qianfan"].items():
        assert float(options[name]["default"]) == value


def test_a_triggerer_has_time_to_stop_what_a_user_has_ended():
    triggerer = conf.configuration_description["triggerer"]["options"]
    if "on_kill_timeout" not in triggerer:
        pytest.skip("before Airflow 3.3 there is no such limit")
    assert read(VALUES)["triggerer"]["terminationGracePeriodSeconds"] > int(
        triggerer["on_kill_timeout"]["default"]
    )


def test_the_connection_of_the_secret_is_found_and_understood(monkeypatch):
    (item,) = read(SECRET)["secret"]
    assert item["envName"] == f"AIRFLOW_CONN_{QianfanHook.default_conn_name.upper()}"
    text = (FOLDER / SECRET).read_text()
    (command,) = re.findall(r"kubectl create secret generic (\S+) --from-file=(\S+?)=", text)
    assert command == (item["secretName"], item["secretKey"])
    (content,) = re.findall(r"^#\s+(\{.*\})$", text, re.MULTILINE)
    monkeypatch.setenv(item["envName"], content.replace("…", "x"))
    assert Connection.get(QianfanHook.default_conn_name).extra_dejson == {"max_qps": 5}
    assert QianfanHook().client is not None


def test_the_secrets_backend_is_told_where_the_connection_is_put():
    secrets = read(VAULT)["config"]["secrets"]
    arguments = json.loads(secrets["backend_kwargs"])
    text = (FOLDER / VAULT).read_text()
    (path,) = re.findall(r"vault kv put (\S+)", text)
    assert (
        path == f"{arguments['mount_point']}/{arguments['connections_path']}/{QianfanHook.default_conn_name}"
    )


def test_what_the_image_is_made_of_exists():
    text = (FOLDER / "Dockerfile").read_text()
    copied = [line.split()[2:-1] for line in text.splitlines() if line.startswith("COPY")]
    assert copied
    for sources in copied:
        for source in sources:
            assert (ROOT / source).exists(), source


def test_the_page_the_values_and_the_image_name_the_same_airflow():
    version = read(VALUES)["airflowVersion"]
    assert f"apache/airflow:{version}-" in (FOLDER / "Dockerfile").read_text()
    assert f"Airflow {version}" in PAGE
    assert read(VALUES)["images"]["airflow"]["tag"] == version


def test_the_page_names_all_files():
    for path in FOLDER.iterdir():
        assert f"(kubernetes/{path.name})" in PAGE, path.name
