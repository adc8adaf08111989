"""Whatever a correctly signed body holds, the answer is one the documents describe."""

import json

import pytest
from cases import cases
from deploying import serve, unit
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from airflow_qianfan.emulator.backend import ROUTES
from airflow_qianfan.emulator.records import Record

ACTIONS = [action for actions in ROUTES.values() for action in actions]
MEMBERS = [
    "name", "description", "model", "trainMode", "marker", "maxKeys", "pageReverse", "jobId", "taskId",
    "hyperParameterConfig", "datasetConfig", "sourceType", "versions", "versionId", "splitRatio",
    "samplingRate", "incrementTaskId", "incrementCheckpointStep", "modelConfig", "modelSetName", "modelSetId",
    "modelType",
    "labels", "trainMeta", "importMeta", "step", "checkpointStep", "bucket", "objectPath", "modelFormat",
    "sourceModelId", "modelCompTaskId", "config", "strategy", "weight", "basicModelName",
    "modelApplicationType", "chatConf", "customSpec", "advancedSettings", "modelId", "saveStep",
    "datasetId", "datasetName", "dataFormat", "storageType", "storagePath", "filter", "files",
    "dataFormatList", "importStatusList", "publishStatusList",
    "serviceId", "instanceId", "urlSuffix", "resourceConfig", "billing", "deploymentConfig", "type", "qps",
    "paymentTiming", "chargeType", "protocolVersion", "deploymentComputeUnitList", "startTime", "endTime",
    "deploymentReplicasCount", "interval", "releaseTime", "computeUnitConfig", "computeUnitCount", "region",
]  # fmt: skip
WORDS = [
    "SFT",
    "Train",
    "Import",
    "Platform",
    "Bos",
    "Text2Text",
    "Text",
    "BOS",
    "sysStorage",
    "bos:/b/f.jsonl",
    "chat",
    "Safetensors",
    "Quantization",
    "W4A16C16",
    "微调",
    "a\x00b",
    "fail",
    "Postpaid",
    "Tokens",
    "GPU-1-1",
    "2026-01-31T08:00:00Z",
    1,
    2,
    60,
]


@pytest.fixture
def lived_in(local):
    """Some objects, so that ids can be hit."""
    task_id = local.done_task()
    local.task(local.job("second"))
    local.ok(
        "CreateCustomModel",
        modelSetId=local.model_set(),
        sourceType="Train",
        trainMeta={"taskId": task_id},
    )
    made = local.ok("CreateDataset", datasetName="faq", dataFormat="Text", storageType="sysStorage")
    local.ok("CreateImportTask", versionId=made["versionId"], files=["bos:/b/f.jsonl"])
    serve(local)
    unit(local)
    return local


@settings(
    max_examples=cases(1500), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_json_body_is_answered_as_documented(lived_in, data):
    ids = [record_id for kind in Record.kinds.values() for record_id in lived_in.store.table(kind)]
    leaves = st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(allow_nan=False, allow_infinity=False),
        st.text(max_size=25),
        st.sampled_from(WORDS),
        st.sampled_from(ids or ["none"]),
    )
    names = st.one_of(st.sampled_from(MEMBERS), st.text(max_size=5))
    values = st.recursive(
        leaves,
        lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(names, inner, max_size=4)),
        max_leaves=12,
    )
    action = data.draw(st.sampled_from(ACTIONS))
    body = data.draw(st.one_of(st.dictionaries(names, values, max_size=8), values))
    answer = lived_in.send(action, json.dumps(body).encode())
    content = json.loads(answer.body)
    if answer.status == 200:
        has_result = action not in ("CancelModelCompTask", "DeleteModelCompTask")
        assert set(content) == ({"requestId", "result"} if has_result else {"requestId"})
    else:
        assert answer.status in (400, 404)
        assert set(content) == {"requestId", "code", "message"}


@settings(max_examples=cases(300), deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(action=st.sampled_from(ACTIONS), body=st.binary(min_size=1, max_size=60))
def test_any_bytes_are_answered_as_documented(local, action, body):
    answer = local.send(action, body)
    assert answer.status in (200, 400)
    assert json.loads(answer.body)["requestId"]
