"""What each request sends: the members that the official pages allow."""

from __future__ import annotations

import re
from typing import Any

import pytest
import service_requests
from examples import BODIES, all_requests, plain_members, plain_requests
from members import JOB, SPEC, TRAIN, short, with_dataset, with_files, with_training

from airflow_qianfan.api.actions.finetuning import (
    CreateFineTuningJob,
    CreateFineTuningTask,
    DescribeFineTuningJobs,
)
from airflow_qianfan.api.actions.model import CreateCustomModel
from airflow_qianfan.emulator.backend import ROUTES


@pytest.mark.parametrize("request_type", all_requests(), ids=short)
def test_action_has_its_name_and_a_route_that_knows_it(request_type):
    assert request_type.action == request_type.__name__
    assert request_type.action in ROUTES[request_type.route]


@pytest.mark.parametrize(("request_type", "members", "body"), BODIES.values(), ids=BODIES)
def test_body_is_what_the_page_describes(request_type, members, body):
    assert request_type(**members).body() == body


@pytest.mark.parametrize("name", ["checkpoint_step", "checkpointStep", "step"])
def test_checkpoint_goes_out_under_both_names(name):
    assert CreateCustomModel(**with_training(**{name: 50})).body()["trainMeta"] == {
        "taskId": "task-1",
        "checkpointStep": 50,
        "step": 50,
    }
    both = CreateCustomModel(**with_training(checkpointStep=50, step="50")).body()["trainMeta"]
    assert (both["checkpointStep"], both["step"]) == (50, 50)


LIMITS: dict[str, tuple[type, list[dict[str, Any]]]] = {
    "name": (CreateFineTuningJob, [{**JOB, "name": "x" * 2}, {**JOB, "name": "名" * 20}]),
    "job-description": (CreateFineTuningJob, [{**JOB, "description": "x" * 500}]),
    "max-keys": (DescribeFineTuningJobs, [{"max_keys": 1}, {"max_keys": 100}]),
    "sampling-rate": (
        CreateFineTuningTask,
        [with_dataset(versions=[{"versionId": "ds-1", "samplingRate": rate}]) for rate in (0.01, 10)],
    ),
    "split-ratio": (CreateFineTuningTask, [with_dataset(splitRatio=ratio) for ratio in (0, 20, 100)]),
    "model-description": (CreateCustomModel, [{**TRAIN, "description": "x" * 300}]),
    "checkpoint-0": (CreateCustomModel, [with_training(checkpointStep=0)]),
    "chat-templates": (
        CreateCustomModel,
        [
            with_files(
                chatConf={
                    "historyQATemplate": "x" * 200,
                    "latestQuestionTemplate": "x",
                    "promptTemplate": "x" * 300,
                }
            )
        ],
    ),
    "display-name": (CreateCustomModel, [with_files(customSpec={**SPEC, "displayName": "x" * 200})]),
    "sampling": (
        CreateCustomModel,
        [
            with_files(advancedSettings={"samplingStrategy": strategy, **more})
            for strategy, more in [
                ("multinomialSampling", {"numSampling": 15}),
                ("beamSearch", {"numBeams": 15}),
                ("greedySearch", {}),
            ]
        ],
    ),
    **service_requests.LIMITS,
}


@pytest.mark.parametrize(("request_type", "cases"), LIMITS.values(), ids=LIMITS)
def test_value_at_its_limit_is_accepted(request_type, cases):
    for members in cases:
        assert request_type(**members).body()


def test_request_cannot_change_after_its_check():
    request = CreateFineTuningJob(**JOB)
    with pytest.raises(ValueError, match="frozen"):
        request.name = "x"


@pytest.mark.parametrize("request_type", plain_requests(), ids=short)
def test_plain_request_sends_its_members_in_the_spelling_of_the_service(request_type):
    members = plain_members(request_type)
    spelled = {re.sub("_(.)", lambda found: found[1].upper(), name): text for name, text in members.items()}
    assert request_type(**members).body() == spelled


def test_every_request_class_is_tested_here():
    with_body = {request_type for request_type, *_ in BODIES.values()}
    assert with_body | set(plain_requests()) == set(all_requests())
