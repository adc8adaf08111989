"""The official SDK makes a data set ready on the emulator, exports it and deletes it."""

import pytest
from qianfan.errors import RequestError
from qianfan.resources import Data
from qianfan.resources.console import consts

from airflow_qianfan.emulator import QianfanEmulator

FILES = ["bos:/bucket/faq.jsonl"]


@pytest.fixture
def emulator():
    with QianfanEmulator(task_seconds=10_000, model_seconds=10_000) as running:
        yield running


@pytest.fixture(autouse=True)
def sdk_settings(emulator, monkeypatch):
    """Set the SDK up by its environment; it reads that once in a process, into this variable."""
    monkeypatch.setenv("QIANFAN_ACCESS_KEY", emulator.access_key)
    monkeypatch.setenv("QIANFAN_SECRET_KEY", emulator.secret_key)
    monkeypatch.setenv("QIANFAN_CONSOLE_API_BASE_URL", emulator.endpoint)
    monkeypatch.setattr("qianfan.config._GLOBAL_CONFIG", None)


def create(name="faq", data_format=consts.V2.DatasetFormat.PromptResponse):
    # The SDK adds the slash at the end of the path.
    return Data.V2.create_dataset(name, data_format, consts.V2.StorageType.Bos, "bos:/bucket/faq")["result"]


def test_life_cycle_of_a_data_set(emulator):
    made = create()
    dataset_id, version_id = made["datasetId"], made["versionId"]
    assert made["storagePath"] == "bos:/bucket/faq/"
    (row,) = Data.V2.get_dataset_list(filter={"datasetName": "faq"})["result"]["datasetList"]
    assert row["datasetId"] == dataset_id

    task_id = Data.V2.create_dataset_version_import_task(version_id, FILES)["result"]
    assert Data.V2.get_dataset_version_import_task_info(task_id)["result"]["importStatus"] == "Importing"
    emulator.advance(10_000)
    done = Data.V2.get_dataset_version_import_task_info(task_id)["result"]
    assert (done["importStatus"], done["sampleCount"]) == ("ImportFinished", 100)

    assert Data.V2.publish_dataset_version(version_id)["result"] is True
    emulator.advance(10_000)
    assert Data.V2.get_dataset_version_info(version_id)["result"]["publishStatus"] == "Published"

    export_id = Data.V2.create_dataset_version_export_task(
        version_id, consts.V2.StorageType.Bos, "bos:/bucket/out/"
    )["result"]
    emulator.advance(10_000)
    exported = Data.V2.get_dataset_version_export_task_info(export_id)["result"]
    assert (exported["exportStatus"], exported["sampleCount"]) == ("ExportFinished", 100)

    second = Data.V2.create_dataset_version(dataset_id, "more")["result"]
    assert second["versionNumber"] == 2
    rows = Data.V2.get_dataset_version_list(dataset_id, filter={"publishStatusList": ["Published"]})
    assert [row["versionId"] for row in rows["result"]["versionList"]] == [version_id]
    assert Data.V2.delete_dataset_version(second["versionId"])["result"] is True
    assert Data.V2.delete_dataset(dataset_id)["result"] is True
    assert emulator.objects("dataset") == emulator.objects("dataset_version") == []
    assert {entry["outcome"] for entry in emulator.journal} == {"ok"}


@pytest.mark.parametrize("data_format", consts.V2.DatasetFormat)
def test_formats_of_the_sdk_are_known(data_format):
    assert create(data_format=data_format)["dataFormat"] == data_format.value


def test_refusals_reach_the_sdk():
    create()
    with pytest.raises(RequestError, match="DuplicateName"):
        create()
    with pytest.raises(RequestError, match=r"param\[files\] invalid"):
        Data.V2.create_dataset_version_import_task("ds-1", ["bos:/bucket/faq.csv"])
    with pytest.raises(RequestError, match="NoSuchKey"):
        Data.V2.publish_dataset_version("ds-1")
