"""Links of tasks: which there are, where they lead, and when they are known."""

from __future__ import annotations

from types import SimpleNamespace
from urllib.parse import parse_qs, urlsplit

import pytest
from provided import OPERATORS, SENSORS

from airflow_qianfan.links import (
    QianfanConsoleLink,
    QianfanDatasetLink,
    QianfanEvalTaskLink,
    QianfanFineTuningTaskLink,
    QianfanModelLink,
    QianfanServiceLink,
    QianfanTabLink,
    QianfanVisualDLLink,
    push_links,
)
from airflow_qianfan.operators.finetuning import QianfanFineTuningOperator
from airflow_qianfan.operators.model import QianfanCreateCustomModelOperator
from airflow_qianfan.operators.service import QianfanModifyServiceOperator

KEY = {"dag_id": "my dag", "run_id": "manual__2026-11-22T00:00:00+00:00", "task_id": "group.train"}


PAGES = {
    QianfanDatasetLink: [
        "CreateDatasetOperator",
        "CreateDatasetVersionOperator",
        "DescribeDatasetVersionOperator",
        "CreateImportTaskOperator",
        "DescribeImportTaskOperator",
        "PublishDatasetVersionOperator",
        "CreateExportTaskOperator",
        "DescribeExportTaskOperator",
        "DatasetOperator",
        "DatasetImportSensor",
        "DatasetVersionImportSensor",
        "DatasetPublishSensor",
        "DatasetExportSensor",
    ],
    QianfanEvalTaskLink: [
        "CreateEvalTaskOperator",
        "DescribeEvalTaskOperator",
        "DescribeEvalTaskReportOperator",
        "StopEvalTaskOperator",
        "EvaluationOperator",
        "EvalTaskSensor",
    ],
    QianfanFineTuningTaskLink: [
        "CreateFineTuningTaskOperator",
        "DescribeFineTuningTaskOperator",
        "StopFineTuningTaskOperator",
        "FineTuningOperator",
        "FineTuningTaskSensor",
    ],
    QianfanModelLink: [
        "CancelModelCompTaskOperator",
        "CreateModelCompTaskOperator",
        "DescribeModelCompTaskOperator",
        "ModelCompressionOperator",
        "CreateModelExportTaskOperator",
        "DescribeModelExportTaskOperator",
        "ModelExportOperator",
        "CreateCustomModelOperator",
        "DescribeModelOperator",
        "ModelSensor",
        "ModelCompTaskSensor",
        "ModelExportSensor",
    ],
    QianfanServiceLink: [
        "CreateServiceOperator",
        "DescribeServiceOperator",
        "ModifyServiceOperator",
        "ScaleServiceOperator",
        "DeactivateServiceOperator",
        "AttachLogStoreOperator",
        "ServiceOperator",
        "ServiceSensor",
    ],
}
"""Who leads to which page of the console: all operators and sensors about one thing that has a page there."""


class TaskInstance(SimpleNamespace):
    """A task instance that keeps its XComs."""

    def xcom_push(self, key: str, value: str) -> None:
        self.xcoms[key] = value


def instance(map_index: int | None = -1) -> TaskInstance:
    return TaskInstance(**KEY, map_index=map_index, xcoms={})


@pytest.mark.parametrize(("map_index", "part"), [(-1, ""), (None, ""), (0, "/mapped/0"), (12, "/mapped/12")])
def test_tab_is_an_address_below_the_one_of_the_ui(map_index, part):
    assert QianfanTabLink().get_link(None, ti_key=instance(map_index)) == (
        f"dags/my%20dag/runs/manual__2026-11-22T00%3A00%3A00%2B00%3A00/tasks/group.train{part}/plugin/qianfan"
    )


@pytest.mark.parametrize(("map_index", "more"), [(-1, {}), (0, {"map_index": ["0"]})])
def test_visualdl_names_the_task_instance(map_index, more):
    found = urlsplit(QianfanVisualDLLink().get_link(None, ti_key=instance(map_index)))
    assert (found.scheme, found.netloc, found.path) == ("", "", "qianfan/visualdl")
    assert parse_qs(found.query) == {name: [value] for name, value in KEY.items()} | more


def test_a_running_task_shows_what_it_knows():
    task = QianfanFineTuningOperator(
        task_id="t", model="m", train_mode="SFT", hyper_parameter_config={}, dataset_config={}
    )
    ti = instance()
    push_links(task, {"ti": ti})
    assert set(ti.xcoms) == {QianfanTabLink().xcom_key, QianfanVisualDLLink().xcom_key}
    task.console_url = "https://console.example/t"
    push_links(task, {"ti": ti})
    assert ti.xcoms["_link_QianfanFineTuningTaskLink"] == "https://console.example/t"


@pytest.mark.parametrize(
    ("operator", "names"),
    [
        (QianfanFineTuningOperator, ["Training log in Qianfan", "VisualDL", "Qianfan"]),
        (QianfanCreateCustomModelOperator, ["Models in Qianfan", "Qianfan"]),
        (QianfanModifyServiceOperator, ["Services in Qianfan", "Qianfan"]),
    ],
)
def test_links_of_an_operator(operator, names):
    assert [link.name for link in operator.operator_extra_links] == names


@pytest.mark.parametrize("found", [*OPERATORS, *SENSORS], ids=lambda found: found.__name__)
def test_each_operator_and_sensor_leads_to_its_tab_and_to_its_page(found):
    links = found.operator_extra_links
    assert sum(isinstance(link, QianfanTabLink) for link in links) == 1
    name = found.__name__.removeprefix("Qianfan")
    pages = [page for page, names in PAGES.items() if name in names]
    assert [type(link) for link in links if isinstance(link, QianfanConsoleLink)] == pages


def test_the_page_of_each_name_in_the_table_is_somebodys():
    names = [found.__name__.removeprefix("Qianfan") for found in (*OPERATORS, *SENSORS)]
    assert sorted(name for of_page in PAGES.values() for name in of_page if name not in names) == []
