"""Whatever dies, what is not a training is begun once, too: data sets, services, inferences, evaluations …"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from ground import Ground, Row, selected

from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet, DescribeModel
from local_stack.ledger import begun
from local_stack.qianfan import LocalQianfan
from local_stack.waiting import wait_for

pytestmark = pytest.mark.slow

CONNECTION = "qianfan_kinds"
FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
SYNC, DEFERRABLE = "sync", "deferrable"

#: DAG, what it is about, its task, the Action, and under which key Airflow remembers it.
KINDS = [
    ("data", "data set", "data", "CreateDataset", "qianfan_dataset"),
    ("data", "import", "data", "CreateImportTask", "qianfan_dataset_import"),
    ("data", "publication", "data", "PublishDatasetVersion", None),
    ("service", "service", "deploy", "CreateService", "qianfan_service"),
    ("service", "update", "update", "ModifyService", None),
    ("use", "batch inference", "answer", "CreateBatchInferenceTask", "qianfan_batch_inference_task"),
    ("use", "evaluation", "evaluate", "CreateEvalTask", "qianfan_eval_task"),
    ("files", "compression", "compress", "CreateModelCompTask", "qianfan_model_comp_task"),
    ("files", "export", "export", "CreateModelExportTask", "qianfan_model_export"),
]


def row(dag: str, name: str, mode: str, crash_at: str, state: str = "success") -> Row:
    return Row(
        name, mode, f"kind_{dag}_{mode}", {"crash_at": crash_at}, state=state, dies=crash_at.partition("/")[0]
    )


def rows_of(dag: str, what: str, task: str, action: str, key: str | None) -> Iterator[Row]:
    yield row(dag, f"{what}: before it is sent", SYNC, f"{task}/sending {action}")
    # Only the latest export of a version is shown, and nothing tells whose it is.
    state = "failed" if what == "export" else "success"
    yield row(dag, f"{what}: begun, answer unread", DEFERRABLE, f"{task}/sent {action}", state)
    if key is not None:
        yield row(dag, f"{what}: answer read, id not stored", SYNC, f"{task}/storing {key}", state)


ROWS = [
    *(one for kind in KINDS for one in rows_of(*kind)),
    row("service", "update: done, not noted", SYNC, "update/storing qianfan_service_update without id#2"),
]
#: The rows for each supported version of Airflow; their points are there in all of them.
SHORT = {"batch inference: begun, answer unread [deferrable]", "service: before it is sent [sync]"}


@pytest.fixture(scope="module")
def qianfan(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQianfan]:
    with LocalQianfan(tmp_path_factory.mktemp("kinds"), task_seconds=4, model_seconds=2) as running:
        yield running


def make_versions(qianfan: LocalQianfan) -> dict[str, str]:
    """Make two model versions that are Ready; return their ids, and that of their set."""
    with qianfan.client() as client:
        set_id = client.call(
            CreateCustomModelSet(model_set_name="served", model_type="Text2Text")
        ).model_set_id
        order = CreateCustomModel(model_set_id=set_id, source_type="Import", import_meta=FILES)
        ids = [client.call(order).model_id for _ in range(2)]
        requests = [DescribeModel(model_id=model_id) for model_id in ids]
        wait_for(
            lambda: [client.call(request).status_text for request in requests] == ["Ready"] * 2,
            what="two versions are Ready",
        )
    return {"model_set_id": set_id, "model_id": ids[0], "other_model_id": ids[1]}


@pytest.fixture(scope="module")
def journal(ground: Ground, qianfan: LocalQianfan, request: pytest.FixtureRequest) -> list[dict[str, Any]]:
    """Run the rows whose tests are selected, or all; return what Qianfan was asked for."""
    rows = selected(ROWS, request)
    api = ground.airflow.api
    api.add_connection(CONNECTION, qianfan.connection)
    for dag_id in sorted({row.dag_id for row in rows}):
        ground.airflow.wait_ready(dag_id)
        api.unpause(dag_id)
    versions = make_versions(qianfan)
    for row in rows:
        row.conf |= versions
    ground.run(rows)
    return qianfan.journal()


def expected(ground: Ground, row: Row) -> list[tuple[str, str | None]]:
    """What one DAG run is to begin, each once: by its tasks' results, or the ids that they knew early."""

    def result(task_id: str, name: str) -> Any:
        value = ground.airflow.api.xcom(row.dag_id, row.run_id, task_id)
        return value.get(name) if isinstance(value, dict) else None

    match row.dag_id.split("_")[1]:
        case "data":
            version_id = result("data", "dataset_version_id")
            return [
                ("CreateDataset", result("data", "dataset_id")),
                ("CreateImportTask", version_id),
                ("PublishDatasetVersion", version_id),
            ]
        case "service":
            service_id = result("deploy", "service_id")
            return [
                (action, service_id) for action in ("CreateService", "ModifyService", "DeactivateService")
            ]
        case "use":
            return [
                ("CreateBatchInferenceTask", result("answer", "batch_inference_task_id")),
                ("CreateEvalTask", result("evaluate", "eval_task_id")),
            ]
        case _:
            return [
                ("CreateModelCompTask", result("compress", "model_comp_task_id")),
                ("CreateModelExportTask", result("compress", "model_id")),
            ]


@pytest.mark.parametrize(
    "row",
    [pytest.param(row, marks=[pytest.mark.short] if str(row) in SHORT else []) for row in ROWS],
    ids=str,
)
def test_each_is_begun_once(row: Row, journal: list[dict[str, Any]], ground: Ground) -> None:
    if (trouble := ground.trouble.get(str(row))) is not None:
        raise AssertionError(f"{row} could not be run as planned") from trouble
    assert ground.mark(row).exists(), "the crash has not happened"
    assert row.dies is not None
    assert ground.task(row, row.dies)["try_number"] > 1
    found = begun(journal)
    once = expected(ground, row)
    assert {pair: found[pair] for pair in once} == dict.fromkeys(once, 1)
    assert ground.airflow.api.run_state(row.dag_id, row.run_id) == row.state
    if row.state == "failed":
        assert "may have been created" in ground.log(row, row.dies)


def test_nothing_else_was_begun(journal: list[dict[str, Any]], ground: Ground) -> None:
    runs = [row for row in ROWS if ground.mark(row).exists()]
    assert begun(journal) == Counter(pair for row in runs for pair in expected(ground, row))


def test_the_short_rows_exist() -> None:
    assert {str(row) for row in ROWS} >= SHORT
