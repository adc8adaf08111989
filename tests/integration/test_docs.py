"""What README and docs say is run, or compared with the code."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from airflow.sdk import DAG, Connection

import airflow_qianfan.operators.action as action_operators
import airflow_qianfan.operators.finetuning as finetuning_operators
import airflow_qianfan.operators.model as model_operators
import airflow_qianfan.sensors.finetuning as finetuning_sensors
import airflow_qianfan.sensors.model as model_sensors
from airflow_qianfan import exceptions
from airflow_qianfan.hooks.qianfan import QianfanHook

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
MODULES = (action_operators, finetuning_operators, model_operators, finetuning_sensors, model_sensors)
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *(ROOT / "docs").glob("*.md")]


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_dag_of_the_readme_is_a_dag():
    namespace: dict[str, object] = {}
    exec(next(block for block in blocks("python") if "DAG(" in block), namespace)
    dag = namespace["dag"]
    assert isinstance(dag, DAG)
    assert dag.task_ids == ["train", "publish"]


@pytest.mark.parametrize("block", [block for block in blocks("python") if "DAG(" not in block])
def test_the_code_of_the_readme_runs(block, qianfan_emulator):
    namespace: dict[str, object] = {}
    exec(block, namespace)
    for name, value in list(namespace.items()):
        if name.startswith("test_"):
            value(qianfan_emulator)


def test_the_readme_has_code_to_run():
    assert len(blocks("python")) >= 4


@pytest.mark.parametrize("value", re.findall(r"AIRFLOW_CONN_QIANFAN_DEFAULT='(.*?)'", README))
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
    defined = {
        name
        for module in MODULES
        for name in dir(module)
        if re.fullmatch(r"Qianfan\w+(Operator|Sensor)", name)
        and name not in {"QianfanOperator", "QianfanListOperator", "QianfanRemovalOperator", "QianfanSensor"}
        and name not in {"QianfanCreateOperator", "QianfanWaitingOperator"}
    }
    table = README[README.index("## Actions") : README.index("## When something goes wrong")]
    assert set(re.findall(r"Qianfan\w+(?:Operator|Sensor)", table)) == defined


def test_the_error_table_names_errors_that_exist_and_whether_they_are_retried():
    from airflow.sdk.exceptions import AirflowFailException

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


def test_the_commands_of_the_readme_are_in_the_makefile():
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"`?make ([a-z]+)", README)) <= targets
