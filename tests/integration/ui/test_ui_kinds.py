"""What the page lists of each kind of object that is no training, while it goes on and when it is done."""

from __future__ import annotations

import time

import pytest

from airflow_qianfan.api.actions.batch_inference import CreateBatchInferenceTask, StopBatchInferenceTask
from airflow_qianfan.api.actions.dataset import CreateDataset, CreateImportTask, PublishDatasetVersion
from airflow_qianfan.api.actions.service import CreateService, DeactivateService
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.plugins.reader import forget

LISTS = "api/connections/qianfan_default"
SECONDS = 20.0


@pytest.fixture
def emulator(start_emulator):
    """An emulator whose clock need not be moved far: what is from the future has no times to show."""
    return start_emulator(task_seconds=SECONDS, model_seconds=SECONDS)


@pytest.fixture
def read_row(ui):
    """Return the only row of a kind, as the page reads it now: first the list, then what that leaves open."""

    def read(kind):
        forget()
        (row,) = ui.read(f"{LISTS}/{kind}")["rows"]
        if row["is_pending"]:
            (row,) = ui.read(f"{LISTS}/{kind}/details", group=[row["group"]])["rows"]
        assert not row["is_pending"]
        return row

    return read


def state(row):
    return row["state"], row["phase"]


def test_model_versions(emulator, service, read_row):
    model_id = service.model("bot")
    row = read_row("models")
    assert (row["id"], state(row)) == (model_id, ("Creating", "active"))
    assert row["detail"] == "Import"
    assert row["created"] is not None

    emulator.advance(SECONDS)
    assert state(read_row("models")) == ("Ready", "succeeded")


def test_a_published_version_names_its_training_and_the_dag_run_that_has_made_it(
    ui, start_emulator, nightly, read_row
):
    emulator = start_emulator(task_seconds=0.5, model_seconds=0.1)
    run_id = nightly("published")
    row = read_row("models")
    assert (row["id"], row["detail"]) == (emulator.models[0]["modelId"], emulator.tasks[0]["taskId"])
    assert row["model"] == "ERNIE-Speed-8K"
    origin = row["origin"]
    assert (origin["dag_id"], origin["run_id"], origin["task_id"]) == ("published", run_id, "publish")


def test_services(emulator, service, read_row):
    hook = QianfanHook()
    model_set_id = service.model_set("bot")
    model_id = service.model("bot", model_set_id)
    emulator.advance(SECONDS)
    service_id = hook.call(
        CreateService(
            model_set_id=model_set_id,
            model_id=model_id,
            name="faq",
            url_suffix="faq",
            resource_config={"region": "bj", "type": "GPU-1-1", "qps": 5},
            billing={"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"},
        )
    ).service_id
    row = read_row("services")
    assert (row["id"], row["name"], state(row)) == (service_id, "faq", ("New", "active"))
    assert row["is_waiting"]
    assert row["model"].endswith(model_id)
    assert row["detail"].endswith("_faq")
    assert row["url"].startswith(emulator.endpoint)
    assert (row["created"] is not None, row["ended"]) == (True, None)

    emulator.advance(SECONDS)
    assert state(read_row("services")) == ("Serving", "succeeded")
    hook.call(DeactivateService(service_id=service_id))
    emulator.advance(SECONDS)
    assert state(read_row("services")) == ("Stopped", "stopped")


def create_batch(name):
    files = {"input_bos_uri": "bos:/b/in", "output_bos_uri": "bos:/b/out"}
    return QianfanHook().call(CreateBatchInferenceTask(name=name, model_id="amv-1", **files)).task_id


def test_batch_inferences(emulator, read_row):
    task_id = create_batch("questions")
    row = read_row("batch-inferences")
    assert (row["id"], row["name"], state(row)) == (task_id, "questions", ("Queuing", "active"))
    assert (row["model"], row["progress"], row["ended"]) == ("amv-1", 0, None)

    emulator.advance(SECONDS / 2)
    row = read_row("batch-inferences")
    assert state(row) == ("Running", "active")
    assert 0.3 < row["progress"] < 0.9
    done, total = (int(word) for word in row["detail"].split() if word.isdigit())
    assert row["progress"] == pytest.approx(done / total)

    emulator.advance(SECONDS)
    row = read_row("batch-inferences")
    assert (state(row), row["progress"]) == (("Done", "succeeded"), 1)
    assert row["ended"] - row["created"] == pytest.approx(SECONDS, abs=1)


def test_a_batch_inference_that_was_stopped(emulator, read_row):
    QianfanHook().call(StopBatchInferenceTask(task_id=create_batch("questions")))
    emulator.advance(SECONDS / 2)
    row = read_row("batch-inferences")
    assert state(row) == ("Stopped", "stopped")
    assert row["progress"] < 1


def test_imports_are_seen_at_their_versions(emulator, read_row):
    hook = QianfanHook()
    made = hook.call(
        CreateDataset(dataset_name="questions", data_format="PromptResponse", storage_type="sysStorage")
    )
    hook.call(CreateImportTask(version_id=made.version_id, files=["bos:/bucket/a.jsonl"]))
    row = read_row("imports")
    assert (row["id"], row["name"], state(row)) == (
        made.version_id,
        "questions · V1",
        ("Importing", "active"),
    )
    assert row["url"].startswith(emulator.endpoint)
    # Its date names no zone.
    assert row["created"] == pytest.approx(time.time(), abs=600)

    emulator.advance(SECONDS)
    row = read_row("imports")
    assert state(row) == ("ImportFinished", "succeeded")
    assert row["detail"] == "Unpublished"
    hook.call(PublishDatasetVersion(version_id=made.version_id))
    emulator.advance(SECONDS)
    assert read_row("imports")["detail"] == "Published"
