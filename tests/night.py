"""What the example ``nightly_retraining`` needs to be there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from airflow_qianfan.api.actions.dataset import CreateDataset
from airflow_qianfan.api.actions.model import CreateCustomModel, CreateCustomModelSet
from airflow_qianfan.api.actions.service import CreateService

HOUR = 3600.0
DATA = ["CreateDatasetVersion", "CreateImportTask", "PublishDatasetVersion"]
TRAINING = ["CreateFineTuningJob", "CreateFineTuningTask", "CreateCustomModel"]
NIGHT = [*DATA, *TRAINING, "CreateEvalTask"]
DEPLOYMENT = ["ModifyService", "ChatCompletion"]
FILES = {"bucket": "b", "objectPath": "p", "modelFormat": "Safetensors", "modelApplicationType": "chat"}


@dataclass
class Prepared:
    """A service with the version that it serves, and a data set."""

    model_set_id: str
    model_id: str
    service_id: str
    dataset_id: str

    @property
    def conf(self) -> dict[str, str]:
        """The params of the DAG that depend on it."""
        return {"service_id": self.service_id, "dataset_id": self.dataset_id}


def prepare(call: Callable[[Any], Any], pass_time: Callable[[float], None]) -> Prepared:
    """Make what is needed.

    :param call: sends a request, and returns its result.
    :param pass_time: puts the clock of the emulator forward.
    """
    model_set_id = call(CreateCustomModelSet(model_set_name="faq", model_type="Text2Text")).model_set_id
    model = CreateCustomModel(model_set_id=model_set_id, source_type="Import", import_meta=FILES)
    model_id = call(model).model_id
    pass_time(HOUR)
    service = CreateService(
        model_set_id=model_set_id,
        model_id=model_id,
        name="faq",
        url_suffix="faq",
        resource_config={"type": "GPU-1-1"},
        billing={"paymentTiming": "Postpaid"},
        protocol_version=2,
    )
    service_id = call(service).service_id
    dataset = CreateDataset(
        dataset_name="faq", data_format="PromptResponse", storage_type="BOS", storage_path="bos:/b/faq/"
    )
    dataset_id = call(dataset).dataset_id
    pass_time(HOUR)
    return Prepared(model_set_id, model_id, service_id, dataset_id)
