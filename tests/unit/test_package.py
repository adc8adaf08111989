"""What an import costs, who may know whom, and how large a module may be."""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pytest

import airflow_qianfan

ROOT = Path(airflow_qianfan.__file__).parent
TESTS = Path(__file__).parent.parent
MODULES = sorted(ROOT.rglob("*.py"))


def name_of(path: Path) -> str:
    """The name under which a file is imported."""
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


def loaded_by(code: str) -> set[str]:
    """The modules that are loaded after some code has run in a process of its own."""
    shown = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return set(shown.stdout.split())


def below(package: str, modules: set[str]) -> set[str]:
    return {module for module in modules if module == package or module.startswith(f"{package}.")}


@pytest.mark.parametrize(
    ("code", "own"),
    [
        ("import airflow_qianfan", {"airflow_qianfan"}),
        (
            "from airflow_qianfan.get_provider_info import get_provider_info; get_provider_info()",
            {"airflow_qianfan", "airflow_qianfan.get_provider_info"},
        ),
        ("import airflow_qianfan.emulator", {"airflow_qianfan", "airflow_qianfan.emulator"}),
        (
            "import airflow_qianfan.emulator.pytest_plugin",
            {"airflow_qianfan", "airflow_qianfan.emulator", "airflow_qianfan.emulator.pytest_plugin"},
        ),
    ],
    ids=["package", "metadata", "emulator", "pytest-plugin"],
)
def test_what_others_import_unasked_loads_nothing_else(code, own):
    loaded = loaded_by(code)
    assert below("airflow_qianfan", loaded) == own
    for heavy in ("airflow", "httpx", "pydantic", "starlette", "uvicorn"):
        assert below(heavy, loaded) == set()


@pytest.mark.parametrize(
    "code",
    [
        "from airflow_qianfan.emulator import Assumptions, QianfanEmulator, Refusal, StateError",
        "import airflow_qianfan.emulator.__main__",
        "from airflow_qianfan.api.signing import sign, BceV1Auth",
    ],
    ids=["emulator", "emulator-command", "signature"],
)
def test_emulator_and_signature_work_without_airflow(code):
    assert below("airflow", loaded_by(code)) == set()


def test_parsing_a_dag_loads_neither_client_nor_actions():
    loaded = loaded_by(
        "import airflow_qianfan.operators.action, airflow_qianfan.operators.finetuning, "
        "airflow_qianfan.operators.model, airflow_qianfan.sensors.finetuning, airflow_qianfan.sensors.model"
    )
    assert "airflow_qianfan.operators.finetuning" in loaded
    assert below("airflow_qianfan.api", loaded) == set()
    assert below("airflow_qianfan.metrics", loaded) == set()


def imports_of(path: Path) -> set[str]:
    """The modules of this package that a file imports anywhere, for types alone or not."""
    package = name_of(path) if path.stem == "__init__" else name_of(path).rpartition(".")[0]
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) + 1 - node.level] if node.level else []
            module = ".".join([*base, *filter(None, [node.module])])
            found |= {module} | {f"{module}.{alias.name}" for alias in node.names}
    return {name for name in found if name.startswith("airflow_qianfan.")}


#: What operators and sensors may know, but neither of the other.
SHARED = (
    *("triggers", "hooks", "api", "exceptions", "compat", "settings", "arguments", "report", "links"),
    *("metrics", "asset_uris", "lineage"),
)
#: Who may know whom. Arrows run one way: operators, sensors, triggers, hooks, api.
MAY_KNOW = {
    "compat": ("compat",),
    "exceptions": ("compat",),
    "api": ("api", "exceptions", "__version__"),
    "hooks": ("hooks", "api", "exceptions", "compat", "get_provider_info", "metrics"),
    "metrics": ("compat", "exceptions"),
    "lineage": ("api", "asset_uris"),
    "retry_policy": ("compat", "exceptions"),
    "triggers": ("triggers", "hooks", "api", "exceptions", "compat", "settings", "metrics", "asset_uris"),
    "asset_uris": (),
    "assets": ("triggers", "compat", "asset_uris"),
    "settings": ("compat",),
    "arguments": ("settings", "exceptions"),
    "report": ("exceptions",),
    "links": (),
    "sensors": ("sensors", *SHARED),
    "operators": ("operators", *SHARED),
    "emulator": ("emulator", "api.signing", "__version__"),
    "get_provider_info": (),
    "plugins": ("plugins", "hooks", "api", "exceptions", "compat"),
}


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_knows_only_whom_it_may(path):
    layer = name_of(path).partition(".")[2].partition(".")[0]
    names = MAY_KNOW.get(layer, ())
    if path.stem == "pytest_plugin":  # it runs DAGs
        names += ("compat",)
    allowed = tuple(f"airflow_qianfan.{name}" for name in names)
    known = imports_of(path)
    assert {name for name in known if not any(below(package, {name}) for package in allowed)} == set()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_module_is_shorter_than_400_lines(path):
    assert len(path.read_text().splitlines()) < 400


@pytest.mark.parametrize("path", sorted(TESTS.rglob("*.py")), ids=lambda path: str(path.relative_to(TESTS)))
def test_file_of_tests_has_no_more_than_500_lines(path):
    assert len(path.read_text().splitlines()) <= 500


def names_of_airflow(path: Path) -> set[str]:
    """What a file imports of Airflow when it runs."""
    tree = ast.parse(path.read_text())
    for_types = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and "TYPE_CHECKING" in ast.unparse(block.test)
        for node in ast.walk(block)
    }
    return {
        f"{node.module}.{alias.name}"
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node not in for_types
        for alias in node.names
        if node.module.partition(".")[0] == "airflow"
    }


#: All that is imported of Airflow outside ``compat``: it is the same in every version that is supported.
SAME_IN_EVERY_VERSION = {
    "airflow.sdk.Asset",
    "airflow.sdk.AssetAlias",
    "airflow.sdk.AssetWatcher",
    "airflow.sdk.definitions.asset.AssetUriRef",
    "airflow.sdk.exceptions.ErrorType",
    "airflow.sdk.BaseHook",
    "airflow.sdk.BaseOperator",
    "airflow.sdk.BaseOperatorLink",
    "airflow.sdk.BaseSensorOperator",
    "airflow.sdk.PokeReturnValue",
    "airflow.sdk.get_current_context",
    "airflow.triggers.base.BaseEventTrigger",
    "airflow.providers.openlineage.extractors.base.OperatorLineage",
    "airflow.triggers.base.BaseTrigger",
    "airflow.triggers.base.TriggerEvent",
}


#: What the pytest plugin needs besides for an Airflow of the tests' own, where DAG files run as a whole.
FOR_TESTS_OF_DAGS = {
    "airflow.settings",
    "airflow.dag_processing.bundles.manager.DagBundlesManager",
    "airflow.dag_processing.dagbag.DagBag",
    "airflow.dag_processing.dagbag.sync_bag_to_db",
    "airflow.utils.db.initdb",
}


#: What the views need, which the API server alone loads; it is the same in every version, too.
FOR_THE_API_SERVER = {
    "airflow.api_fastapi.app.get_auth_manager",
    "airflow.api_fastapi.auth.managers.models.resource_details.ConnectionDetails",
    "airflow.api_fastapi.auth.managers.models.resource_details.DagAccessEntity",
    "airflow.api_fastapi.auth.managers.models.resource_details.DagDetails",
    "airflow.api_fastapi.common.db.common.SessionDep",
    "airflow.api_fastapi.core_api.security.GetUserDep",
    "airflow.api_fastapi.core_api.security.get_user",
    "airflow.api_fastapi.core_api.security.requires_access_connection",
    "airflow.api_fastapi.core_api.security.requires_access_dag",
    "airflow.models.Connection",
    "airflow.models.DagModel",
    "airflow.models.dagrun.DagRun",
    "airflow.models.renderedtifields.RenderedTaskInstanceFields",
    "airflow.models.taskinstance.TaskInstance",
    "airflow.models.xcom.XComModel",
    "airflow.plugins_manager.AirflowPlugin",
    "airflow.utils.session.create_session",
}


@pytest.mark.parametrize("path", [path for path in MODULES if path.parent.name != "compat"], ids=name_of)
def test_only_compat_knows_what_differs_between_versions_of_airflow(path):
    allowed = FOR_TESTS_OF_DAGS if path.stem == "pytest_plugin" else SAME_IN_EVERY_VERSION
    if path.parent.name == "plugins":
        allowed = FOR_THE_API_SERVER
    assert names_of_airflow(path) <= allowed
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    assert "hasattr" not in {ast.unparse(node.func) for node in calls}


def test_emulator_is_written_apart_from_the_requests_it_answers():
    known = set().union(*(imports_of(path) for path in (ROOT / "emulator").rglob("*.py")))
    assert below("airflow_qianfan.api.actions", known) == set()


def test_package_is_typed_and_has_one_version():
    assert (ROOT / "py.typed").is_file()
    assert version("airflow-qianfan") == airflow_qianfan.__version__


def test_table_of_actions_in_the_readme_is_current():
    check = [sys.executable, str(ROOT.parent / "docs" / "actions.py"), "--check"]
    assert subprocess.run(check, timeout=120).returncode == 0, "run make docs"


@pytest.mark.parametrize("airflow", ["", "3.1", "3.2", "3.3.0"])
def test_demo_installs_all_it_needs_on_each_airflow_where_nothing_was_installed_before(airflow, tmp_path):
    root = ROOT.parent
    constraints = [f".ci/constraints{end}.txt" for end in ("", "-3.1", "-3.2")]
    for path in ("Makefile", "pyproject.toml", *constraints):
        copy = tmp_path / path
        copy.parent.mkdir(exist_ok=True)
        shutil.copy(root / path, copy)
    # What the make that runs the tests was told must not count.
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    make = ["make", "--dry-run", "demo", f"AIRFLOW={airflow}", f"PYTHON={sys.executable}"]
    found = subprocess.run(make, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert found.returncode == 0, found.stderr
    folder = f".venv-{airflow}" if airflow else ".venv"
    installed, started = (
        found.stdout.index(text) for text in (f"touch {folder}/", f"{folder}/bin/python -m demo")
    )
    assert installed < started
