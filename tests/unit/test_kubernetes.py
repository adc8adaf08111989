"""The Helm values and the Dockerfile of ``docs/kubernetes``: what they name exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
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


def closed(**members: Any) -> dict[str, Any]:
    """An object with these members and no others."""
    return {"type": "object", "additionalProperties": False, "properties": members}


TEXT, NUMBER, SWITCH = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
#: The chart takes any text; what Kubernetes takes is narrower.
QUANTITY = {"type": "string", "pattern": r"^\d+(\.\d+)?(m|Ki|Mi|Gi)?$"}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
RESOURCES = closed(requests=QUANTITIES, limits=QUANTITIES)
SECTION = {"type": "object", "additionalProperties": {"type": ["boolean", "integer", "number", "string"]}}
#: What the chart's ``values.schema.json`` says of the keys that are used. It lets unknown ones pass on the
#: top level; here none does.
SCHEMA = closed(
    airflowVersion=TEXT,
    images=closed(airflow=closed(repository=TEXT, tag=TEXT)),
    executor={**TEXT, "pattern": "^[A-Z][a-zA-Z0-9]+Executor(,[A-Z][a-zA-Z0-9]+Executor)*$"},
    config={"type": "object", "additionalProperties": SECTION},
    secret={
        "type": "array",
        "items": {
            **closed(envName=TEXT, secretName=TEXT, secretKey=TEXT),
            "required": ["envName", "secretName"],
        },
    },
    scheduler=closed(replicas=NUMBER),
    triggerer=closed(
        terminationGracePeriodSeconds=NUMBER,
        resources=RESOURCES,
        keda=closed(enabled=SWITCH, minReplicaCount=NUMBER, maxReplicaCount=NUMBER),
    ),
    workers=closed(resources=RESOURCES, terminationGracePeriodSeconds=NUMBER),
)


def read(name: str) -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    return content


@pytest.mark.parametrize("name", [VALUES, SECRET, VAULT])
def test_the_chart_knows_every_value(name):
    jsonschema.validate(read(name), SCHEMA)


def test_a_misspelt_key_is_noticed():
    values = read(VALUES)
    values["triggerer"]["keda"]["minReplicas"] = values["triggerer"]["keda"].pop("minReplicaCount")
    with pytest.raises(jsonschema.ValidationError, match="minReplicas"):
        jsonschema.validate(values, SCHEMA)


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
