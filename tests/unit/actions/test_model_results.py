"""Model sets and versions as the service may send them."""

from __future__ import annotations

from typing import Any

import pytest
from wire import ok

from airflow_qianfan.api.actions.model import DeleteModel, DescribeModel, DescribeModelSet
from airflow_qianfan.api.objects import Phase


def read(request: Any, result: Any) -> Any:
    return request.read_result(result)


def test_lists_of_a_model_set_may_be_null():
    found = read(
        DescribeModelSet(model_set_id="am-1"),
        {"modelSetId": "am-1", "labels": None, "modelIds": None, "modelNames": None},
    )
    assert (found.labels, found.model_ids, found.model_names) == ([], [], [])


@pytest.mark.parametrize(
    ("spelling", "status", "phase", "is_known"),
    [
        ("Creating", "Creating", Phase.ACTIVE, True),
        ("", "Creating", Phase.ACTIVE, True),
        (None, "Creating", Phase.ACTIVE, True),
        ("Ready", "Ready", Phase.SUCCEEDED, True),
        ("READY", "Ready", Phase.SUCCEEDED, True),
        ("Fail", "Fail", Phase.FAILED, True),
        ("Failed", "Fail", Phase.FAILED, True),
        ("Archived", "Archived", Phase.ACTIVE, False),
    ],
)
def test_every_spelling_of_a_model_status_is_understood(spelling, status, phase, is_known):
    found = read(DescribeModel(model_id="amv-1"), {"modelId": "amv-1", "status": spelling})
    assert (found.status, found.state.phase, found.state.is_known) == (status, phase, is_known)
    assert found.state.is_final is (phase is not Phase.ACTIVE)
    output = found.output()
    assert (output["status"], output["status_text"]) == (status, spelling)


def test_model_set_and_model_are_read_as_the_pages_show_them():
    found = read(
        DescribeModelSet(model_set_name="bot"),
        {
            "modelSetId": "am-1",
            "modelSetName": "bot",
            "modelType": "Text2Text",
            "source": "UserCreate",
            "labels": ["a"],
            "modelIds": ["amv-2", "amv-1"],
            "modelNames": ["bot_2", "bot_1"],
            "createTime": "2024-06-04T18:38:59+08:00",
        },
    )
    assert found.output() == {
        "model_set_id": "am-1",
        "model_set_name": "bot",
        "model_type": "Text2Text",
        "labels": ["a"],
        "model_ids": ["amv-2", "amv-1"],
    }
    version = read(
        DescribeModel(model_id="amv-1"),
        {
            "modelId": "amv-1",
            "modelSetId": "am-1",
            "modelName": "bot_1",
            "status": "READY",
            "model": "ERNIE-Speed-8K",
            "sourceInfo": {"sourceType": "Train"},
            "isSupportDeploy": True,
            "tokenLimitations": {"trivial": {"inputTokens": 1}},
        },
    )
    assert version.output() == {
        "model_id": "amv-1",
        "model_set_id": "am-1",
        "model_name": "bot_1",
        "status": "Ready",
        "status_text": "READY",
        "model": "ERNIE-Speed-8K",
        "description": None,
        "is_support_deploy": True,
        "console_url": "https://console.bce.baidu.com/qianfan/modelcenter/model/user/list",
    }
    assert version.source_info == {"sourceType": "Train"}


@pytest.mark.parametrize("answer", [True, {}, {"modelId": "amv-1"}, [], "amv-1"])
def test_deletion_of_a_model_takes_any_answer_since_none_is_documented(answer, connect, wire):
    wire.script(ok(answer))
    assert connect().call(DeleteModel(model_id="amv-1")) == answer
