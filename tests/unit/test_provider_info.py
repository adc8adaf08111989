"""The provider's metadata: valid, complete and true, by Airflow's own schemas and commands."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import walk_packages
from typing import Any

import airflow
import jsonschema
import pytest
from airflow.sdk import BaseOperator, BaseOperatorLink
from airflow.triggers.base import BaseTrigger
from versions import needs

import airflow_qianfan
from airflow_qianfan.compat import conf
from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.settings import DEFAULTS

INFO = get_provider_info()
param, slow = pytest.param, pytest.mark.slow


def schema(name: str) -> dict[str, Any]:
    return json.loads((Path(airflow.__file__).parent / name).read_text())


def modules_named(kind: str) -> list[str]:
    return [module for entry in INFO[kind] for module in entry["python-modules"]]


def test_metadata_is_valid():
    jsonschema.validate(INFO, schema("provider_info.schema.json"))


def test_connection_type_is_valid_by_the_stricter_schema_of_providers():
    whole = schema("provider.yaml.schema.json")
    part = {**whole["properties"]["connection-types"], "definitions": whole["definitions"]}
    jsonschema.validate(INFO["connection-types"], part)


def test_settings_are_valid_by_the_stricter_schema_of_providers():
    whole = schema("provider.yaml.schema.json")
    jsonschema.validate(
        INFO["config"], {**whole["properties"]["config"], "definitions": whole["definitions"]}
    )


def test_metadata_is_plain_data():
    assert json.loads(json.dumps(INFO)) == INFO


def test_name_is_that_of_the_distribution():
    (entry,) = [point for point in entry_points(group="apache_airflow_provider") if "qianfan" in point.value]
    assert entry.value == "airflow_qianfan.get_provider_info:get_provider_info"
    assert INFO["package-name"] == entry.dist.metadata["Name"] == "airflow-qianfan"
    assert entry.load()() == INFO


@pytest.mark.parametrize("kind", ["hooks", "operators", "sensors", "triggers"])
def test_every_module_that_is_named_imports(kind):
    assert modules_named(kind)
    for module in modules_named(kind):
        import_module(module)


def attribute(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(import_module(module), name)


def test_every_class_that_is_named_exists():
    assert all(issubclass(attribute(path), BaseOperatorLink) for path in INFO["extra-links"])
    for entry in INFO["connection-types"]:
        assert attribute(entry["hook-class-name"]).conn_type == entry["connection-type"]


def defined_in(package: str, base: type) -> set[type]:
    """The classes that a package defines for users, which are those that no other class derives from."""
    root = import_module(package)
    modules = [
        root,
        *(import_module(found.name) for found in walk_packages(root.__path__, f"{package}.")),
    ]
    return {
        value
        for module in modules
        for value in vars(module).values()
        if isinstance(value, type)
        and issubclass(value, base)
        and value.__module__ == module.__name__
        and not value.__subclasses__()
    }


@pytest.mark.parametrize(
    ("kind", "base", "at_least"), [("operators", BaseOperator, 15), ("sensors", BaseOperator, 2)]
)
def test_every_operator_and_sensor_is_in_a_module_that_is_named(kind, base, at_least):
    defined = defined_in(f"airflow_qianfan.{kind}", base)
    named = [import_module(module) for module in modules_named(kind)]
    missing = {cls for cls in defined if not any(getattr(m, cls.__name__, None) is cls for m in named)}
    assert missing == set()
    assert len(defined) >= at_least


def test_every_trigger_is_in_a_module_that_is_named():
    defined = defined_in("airflow_qianfan.triggers", BaseTrigger)
    assert {cls.__module__ for cls in defined} == set(modules_named("triggers"))


def test_every_hook_is_in_a_module_that_is_named():
    folder = Path(airflow_qianfan.__file__).parent / "hooks"
    files = {f"airflow_qianfan.hooks.{path.stem}" for path in folder.glob("*.py")}
    assert files - {"airflow_qianfan.hooks.__init__"} == set(modules_named("hooks"))


def test_every_link_is_named():
    links = import_module("airflow_qianfan.links")
    public = {
        f"{links.__name__}.{name}"
        for name, value in vars(links).items()
        if isinstance(value, type) and issubclass(value, BaseOperatorLink) and name.startswith("Qianfan")
    }
    assert public == set(INFO["extra-links"])


def test_integration_of_every_module_is_described():
    names = {entry["integration-name"] for entry in INFO["integrations"]}
    assert {
        entry["integration-name"]
        for kind in ("hooks", "operators", "sensors", "triggers")
        for entry in INFO[kind]
    } == names


@needs(3, 2, "a process that loads no providers knows no defaults of theirs")
def test_default_of_every_setting_is_known_to_airflow(monkeypatch):
    for name, option in INFO["config"]["qianfan"]["options"].items():
        monkeypatch.delenv(f"AIRFLOW__QIANFAN__{name.upper()}", raising=False)
        assert conf.get("qianfan", name) == option["default"]
        if option["type"] == "float":
            assert conf.getfloat("qianfan", name) == float(option["default"]) == DEFAULTS[name]


def providers(*command: str) -> tuple[list[dict[str, Any]], str]:
    """What ``airflow providers`` prints, and what it says besides."""
    shown = subprocess.run(
        [Path(sys.executable).parent / "airflow", "providers", *command, "--output", "json"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return json.loads(shown.stdout), shown.stderr


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        (["list"], "airflow-qianfan"),
        param(["get", "airflow-qianfan", "--full"], "airflow_qianfan.operators.finetuning", marks=slow),
        param(["hooks"], "airflow_qianfan.hooks.qianfan.QianfanHook", marks=slow),
        param(["links"], "airflow_qianfan.links.QianfanFineTuningTaskLink", marks=slow),
        param(["triggers"], "airflow_qianfan.triggers.finetuning", marks=slow),
    ],
    ids=["list", "get", "hooks", "links", "triggers"],
)
def test_command_of_airflow_shows_the_provider_and_complains_of_nothing(command, expected):
    rows, complaints = providers(*command)
    assert expected in json.dumps(rows)
    assert "qianfan" not in complaints.lower()


def test_airflow_shows_the_description_as_it_is():
    rows, _ = providers("list")
    (row,) = [row for row in rows if row["package_name"] == INFO["package-name"]]
    assert row["description"] == INFO["description"].rstrip(".")
    assert row["version"] == airflow_qianfan.__version__
