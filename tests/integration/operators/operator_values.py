"""Values that operators are given in several tests."""

from __future__ import annotations

from datetime import timedelta

import pytest

HOUR = 3600.0
MARK = r"\[airflow:[0-9a-f]{12}\]"
RETRIES = {"retries": 2, "retry_delay": timedelta(0)}
JOB = {"name": "nightly", "model": "ERNIE-Speed-8K", "train_mode": "SFT"}
HYPER = {"epoch": 3, "learningRate": 0.0003}
DATASET = {
    "sourceType": "Platform",
    "versions": [{"versionId": "ds-1", "samplingRate": 0.5}],
    "splitRatio": 20,
}
FILES = {"bucket": "b", "objectPath": "p/", "modelFormat": "Safetensors", "modelApplicationType": "chat"}
CHAT = {
    "historyQATemplate": "Q: {question}\\nA: {answer}",
    "latestQuestionTemplate": "Q: {question}",
    "promptTemplate": "Be kind. {input}",
}
MODES = pytest.mark.parametrize("deferrable", [False, True], ids=["worker", "deferred"])
TRAINING = {
    "model": "ERNIE-Speed-8K",
    "train_mode": "DPO",
    "hyper_parameter_config": HYPER,
    "dataset_config": DATASET,
    "poll_interval": 0.05,
}


def actions_of(emulator):
    return [call["action"] for call in emulator.journal]
