"""Which asset events Airflow stores of what operators publish, in a real metadata database."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from airflow.sdk import DAG, Asset, task
from sqlalchemy import select

from airflow_qianfan.assets import model_set_asset, service_asset
from airflow_qianfan.compat.assets import _Variables
from airflow_qianfan.operators.dataset import QianfanPublishDatasetVersionOperator
from airflow_qianfan.operators.model import (
    QianfanCreateCustomModelOperator,
    QianfanCreateModelCompTaskOperator,
    QianfanModelCompressionOperator,
)
from airflow_qianfan.operators.prepare_dataset import QianfanDatasetOperator
from airflow_qianfan.operators.service import QianfanCreateServiceOperator, QianfanServiceOperator

FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
SERVICE = {"resource_config": {"type": "GPU-1-1"}, "billing": {"paymentTiming": "Postpaid"}}
MODES = {"sync": {"deferrable": False}, "deferred": {"deferrable": True}}
QUICK = {"wait_for_completion": True, "poll_interval": 0.1}


@pytest.fixture
def emulator(start_emulator):
    return start_emulator(task_seconds=0.3, model_seconds=0.3)


@pytest.fixture
def events(emulator):
    """Return what was stored of the assets of this test's emulator: URI and extra of each event."""
    from airflow.models.asset import AssetEvent, AssetModel
    from airflow.utils.session import create_session

    host = emulator.endpoint.removeprefix("http://")

    def read():
        with create_session() as session:
            rows = session.execute(
                select(AssetModel.uri, AssetEvent.extra)
                .join(AssetModel, AssetModel.id == AssetEvent.asset_id)
                .where(AssetModel.uri.startswith(f"qianfan://{host}/"))
                .order_by(AssetEvent.id)
            )
            return [(uri.removeprefix(f"qianfan://{host}/"), extra) for uri, extra in rows]

    return read


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_a_published_training_is_told_with_its_ids_and_metrics(emulator, service, run_task, events, mode):
    model_set_id, task_id = service.model_set(), service.task()
    emulator.advance(1)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id="{{ params.model_set }}",
        params={"model_set": model_set_id},
        fine_tuning_task_id=task_id,
        **QUICK,
        **mode,
    )
    assert run.state == "success", run.errors
    ((uri, extra),) = events()
    assert uri == f"model-sets/{model_set_id}"
    (version,), (training,) = emulator.models, emulator.tasks
    assert all(isinstance(value, float) for value in extra["metrics"].values())
    assert extra.pop("metrics")
    assert extra == {
        "model_set_id": model_set_id,
        "model_id": version["modelId"],
        "state": "Ready",
        "fine_tuning_task_id": task_id,
        "fine_tuning_job_id": training["jobId"],
    }


def test_a_version_that_is_not_waited_for_is_told_without_a_state(emulator, service, run_task, events):
    model_set_id = service.model_set()
    run = run_task(QianfanCreateCustomModelOperator, model_set_id=model_set_id, import_meta=FILES)
    ids = {"model_set_id": model_set_id, "model_id": run.value["model_id"]}
    assert events() == [(f"model-sets/{model_set_id}", {**ids, "state": None})]


def test_metrics_that_cannot_be_read_fail_no_publication(emulator, service, run_task, events):
    model_set_id, task_id = service.model_set(), service.task()
    emulator.advance(1)
    emulator.fail_next("DescribeFineTuningTask", kind="error", status=403, code="AccessDenied", count=None)
    run = run_task(QianfanCreateCustomModelOperator, model_set_id=model_set_id, fine_tuning_task_id=task_id)
    assert run.state == "success", run.errors
    ((_, extra),) = events()
    assert (extra["fine_tuning_task_id"], extra.get("metrics")) == (task_id, None)


def test_nothing_is_told_where_the_user_does_not_want_it(emulator, service, run_task, events):
    model_set_id = service.model_set()
    run = run_task(
        QianfanCreateCustomModelOperator, model_set_id=model_set_id, import_meta=FILES, emit_asset=False
    )
    assert run.state == "success", run.errors
    assert events() == []


@pytest.mark.parametrize("mode", MODES.values(), ids=MODES)
def test_nothing_is_told_of_a_version_that_fails(emulator, service, run_task, events, mode):
    emulator.fail_next("DescribeModel", kind="unknown_status", word="Fail", count=None)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=service.model_set(),
        import_meta=FILES,
        **QUICK,
        **mode,
    )
    assert run.state == "failed"
    assert events() == []


def test_a_retry_tells_once(emulator, service, run_dag, events):
    model_set_id = service.model_set()
    with DAG("retry_tells_once", schedule=None) as dag:
        QianfanCreateCustomModelOperator(
            task_id="it",
            model_set_id=model_set_id,
            import_meta=FILES,
            retries=1,
            retry_delay=timedelta(0),
            max_poll_failures=0,
            **QUICK,
        )
    emulator.fail_next("DescribeModel", kind="server_error", count=4)
    run = run_dag(dag)
    assert (run.state, run.tries) == ("success", {"it": 2})
    assert [extra["model_id"] for _, extra in events()] == [one["modelId"] for one in emulator.models]


def test_a_version_is_published_although_its_event_cannot_be_made(
    emulator, service, run_task, events, monkeypatch, capfd
):
    """What is paid for must not be published again because of an event."""

    def refuse(*_: object) -> None:
        raise OSError("no answer")

    monkeypatch.setattr("airflow_qianfan.operators.base.asset_event.asset_events", refuse)
    arguments = {"model_set_id": service.model_set(), "import_meta": FILES, **QUICK}
    run = run_task(QianfanCreateCustomModelOperator, **arguments)
    assert run.state == "success"
    assert events() == []
    assert "No asset event" in capfd.readouterr().out


@pytest.mark.parametrize("name", [None, "my models"])
def test_an_outlet_of_the_user_gets_the_only_event(emulator, service, run_task, events, name):
    model_set_id = service.model_set()
    asset = model_set_asset(model_set_id, endpoint=emulator.endpoint)
    run = run_task(
        QianfanCreateCustomModelOperator,
        model_set_id=model_set_id,
        import_meta=FILES,
        outlets=[Asset(name or asset.uri, asset.uri)],
    )
    assert run.state == "success", run.errors
    ((_, extra),) = events()
    assert extra["model_id"] == run.value["model_id"]


def test_mapped_tasks_tell_each_of_its_own(emulator, service, run_dag, events):
    sets = [service.model_set("one"), service.model_set("two")]
    with DAG("mapped_tasks_tell", schedule=None) as dag:
        QianfanCreateCustomModelOperator.partial(task_id="it", import_meta=FILES).expand(model_set_id=sets)
    run = run_dag(dag)
    assert run.state == "success", run.errors
    assert sorted(uri for uri, _ in events()) == sorted(f"model-sets/{one}" for one in sets)


def test_a_compressed_version_is_told_once_there_is_one(emulator, service, run_task, events):
    source = service.model()
    emulator.advance(1)
    arguments = {"source_model_id": source, "strategy": "Quantization", "weight": "INT8-PTQ"}
    run = run_task(QianfanModelCompressionOperator, poll_interval=0.1, **arguments)
    assert run.state == "success", run.errors
    ((uri, extra),) = events()
    assert uri == f"model-sets/{emulator.models[0]['modelSetId']}"
    assert (extra["model_id"], extra["source_model_id"]) == (run.value["model_id"], source)
    begun = run_task(
        QianfanCreateModelCompTaskOperator,
        source_model_id=source,
        model_set_id=emulator.models[0]["modelSetId"],
        config={"strategy": "Quantization", "weight": "INT8-PTQ"},
    )
    assert begun.state == "success", begun.errors
    assert len(events()) == 1, "what was only begun has made no version"


def test_a_service_is_told_with_the_version_that_it_serves(emulator, service, run_task, events):
    version = service.model()
    emulator.advance(1)
    ids = {"model_set_id": emulator.models[0]["modelSetId"], "model_id": version}
    run = run_task(QianfanServiceOperator, poll_interval=0.1, **ids, **SERVICE)
    assert run.state == "success", run.errors
    service_id = run.value["service_id"]
    told = {"service_id": service_id, **ids, "previous_model_id": None, "state": "Serving"}
    assert events() == [(f"services/{service_id}", told)]

    again = run_task(QianfanServiceOperator, service_id=service_id, poll_interval=0.1, **ids)
    assert again.state == "success", again.errors
    assert len(events()) == 1, "it serves the same version"

    created = run_task(QianfanCreateServiceOperator, name="other", url_suffix="other", **ids, **SERVICE)
    assert created.state == "success", created.errors
    assert events()[-1][0] == f"services/{created.value['service_id']}"
    assert service_asset(service_id, endpoint=emulator.endpoint).uri.endswith(events()[0][0])


def test_a_version_of_a_data_set_is_told_once(emulator, run_task, events):
    run = run_task(
        QianfanDatasetOperator,
        dataset_name="faq",
        data_format="PromptResponse",
        storage_type="BOS",
        storage_path="bos:/b/faq/",
        files=["bos:/b/data.jsonl"],
        poll_interval=0.1,
    )
    assert run.state == "success", run.errors
    ((uri, extra),) = events()
    assert uri == f"datasets/{run.value['dataset_id']}"
    assert extra["dataset_version_id"] == run.value["dataset_version_id"]
    assert extra["state"] == "Published"

    again = run_task(
        QianfanPublishDatasetVersionOperator, dataset_version_id=run.value["dataset_version_id"], **QUICK
    )
    assert again.state == "success", again.errors
    assert len(events()) == 1, "it was published before"


def test_before_3_3_variables_remember_what_a_watcher_has_told(run_dag):
    with DAG("variables_remember", schedule=None) as dag:

        @task
        def it():
            memory = _Variables("qianfan://host/model-sets/am-1")
            found = [memory.get("versions")]
            memory.set("versions", {"told": ["amv-1"], "telling": {}})
            found.append(memory.get("versions"))
            found.append(asyncio.run(memory.aget("versions")))
            asyncio.run(memory.aset("versions", {"told": []}))
            found.append(memory.get("versions"))
            asyncio.run(memory.adelete("versions"))
            return [*found, memory.get("versions", "nothing")]

        it()
    run = run_dag(dag)
    assert run.state == "success", run.errors
    told = {"told": ["amv-1"], "telling": {}}
    assert run.value == [None, told, told, {"told": []}, "nothing"]
