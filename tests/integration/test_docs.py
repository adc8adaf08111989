"""What README and docs say is run, or compared with the code."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from airflow.configuration import conf
from airflow.sdk import Connection
from versions import needs

from airflow_qianfan import exceptions
from airflow_qianfan.get_provider_info import get_provider_info
from airflow_qianfan.hooks.qianfan import QianfanHook

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


TESTS = [block for block in blocks("python") if "def test_" in block]
DAGS = [block for block in blocks("python") if "DAG(" in block and block not in TESTS]
CODE = [block for block in blocks("python") if block not in (*TESTS, *DAGS)]


def numbered(*kinds: list[str]) -> dict[str, Any]:
    """Arguments for ``parametrize``: the blocks, with their numbers as ids."""
    found = [block for kind in kinds for block in kind]
    return {"argvalues": found, "ids": [f"block {number}" for number in range(len(found))]}


@pytest.mark.parametrize("block", **numbered(DAGS))
def test_the_dag_of_the_readme_trains_and_publishes_as_it_stands(block, start_emulator, run_dag, monkeypatch):
    monkeypatch.setenv("AIRFLOW__QIANFAN__POLL_INTERVAL", "0.1")
    emulator = start_emulator(task_seconds=0.5, model_seconds=0.2)
    namespace: dict[str, Any] = {}
    exec(block, namespace)
    run = run_dag(namespace["dag"])
    assert run.state == "success", run.errors
    (training,), (version,) = emulator.tasks, emulator.models
    assert training["runStatus"] == "Done"
    assert version["status"] == "Ready"


@pytest.mark.parametrize("block", **numbered(CODE))
def test_the_code_of_the_readme_runs(block, qianfan_emulator):
    exec(block, {})


@pytest.mark.thorough
@pytest.mark.parametrize("block", **numbered(TESTS))
def test_the_tests_of_the_readme_pass(block, tmp_path):
    (tmp_path / "test_mine.py").write_text(block)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--rootdir", str(tmp_path), "test_mine.py"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=environment,
        timeout=280,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readme_has_code_to_run():
    assert TESTS
    assert DAGS
    assert CODE


@pytest.mark.parametrize("value", **numbered(re.findall(r"AIRFLOW_CONN_QIANFAN_DEFAULT='(.*?)'", README)))
def test_the_connections_of_the_readme_are_understood(value, monkeypatch):
    filled_in = value.replace("ALTAK…", "ALTAKREADME").replace("…", "secret")
    monkeypatch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", filled_in)
    connection = Connection.get("qianfan_default")
    assert (connection.conn_type, connection.login, connection.password) == (
        "qianfan",
        "ALTAKREADME",
        "secret",
    )
    assert QianfanHook().client is not None


def test_the_table_names_all_operators_and_sensors():
    info = get_provider_info()
    modules = [name for room in ("operators", "sensors") for name in info[room][0]["python-modules"]]
    defined = {
        name
        for module in modules
        for name, value in vars(import_module(module)).items()
        if re.fullmatch(r"Qianfan\w+(Operator|Sensor)", name)
        and f"{value.__module__}.".startswith(f"{module}.")
    }
    table = README[README.index("## Actions") : README.index("## When something goes wrong")]
    rows = "\n".join(line for line in table.splitlines() if line.startswith("|"))
    assert set(re.findall(r"Qianfan\w+(?:Operator|Sensor)", rows)) == defined


def test_the_error_table_names_errors_that_exist_and_whether_they_are_retried():
    from airflow_qianfan.compat import AirflowFailException

    table = README[README.index("| Error | When |") : README.index("All are in `airflow_qianfan.exceptions`")]
    for row in table.strip().splitlines()[2:]:
        names = re.findall(r"`(Qianfan\w+Error)`", row.split("|")[1])
        retried = row.rstrip("| ").endswith("yes")
        for name in names:
            assert issubclass(getattr(exceptions, name), AirflowFailException) is not retried, name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_to_files_that_exist(page):
    for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text()):
        assert (page.parent / link).exists(), link


@needs(3, 3, "some of the settings")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_settings_are_those_of_airflow_or_of_this_provider(page):
    for section, option in re.findall(r"`\[(\w+)\]\s(\w+)", page.read_text()):
        assert option in conf.configuration_description[section]["options"], (section, option)


def test_the_commands_of_the_readme_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets
