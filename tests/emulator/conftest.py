"""A service without HTTP and with a clock that stands still, and one with HTTP."""

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_qianfan.api.signing import sign
from airflow_qianfan.emulator import QianfanEmulator
from airflow_qianfan.emulator.assumptions import Assumptions
from airflow_qianfan.emulator.auth import Credentials
from airflow_qianfan.emulator.backend import ROUTES, Backend, Request
from airflow_qianfan.emulator.faults import Answer
from airflow_qianfan.emulator.store import Store

ACCESS_KEY = "AKTEST"
SECRET_KEY = "SKTEST"
START = 1_705_398_515.0
DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}], "splitRatio": 20}


class Clock:
    def __init__(self) -> None:
        self.time = START

    def __call__(self) -> float:
        return self.time


class Local:
    """Calls a service directly, correctly signed."""

    def __init__(self, assumptions: Assumptions | None = None, store: Store | None = None) -> None:
        self.clock = Clock()
        self.store = store or Store(clock=self.clock)
        keys = Credentials(ACCESS_KEY, SECRET_KEY, None, {"AKREAD": "SKREAD"})
        self.backend = Backend(self.store, keys, assumptions or Assumptions(), 100.0, 10.0)

    def send(
        self, action: str, body: bytes, access_key: str = ACCESS_KEY, secret_key: str = SECRET_KEY
    ) -> Answer:
        path = next((path for path, actions in ROUTES.items() if action in actions), "/v2/finetuning")
        query = [("Action", action)]
        headers: list[tuple[bytes, bytes]] = [(b"host", b"localhost:1")]
        authorization = sign(
            access_key,
            secret_key,
            "POST",
            path,
            query,
            headers,
            timestamp=self.clock(),
            signed_headers=["host"],
        )
        headers.append((b"authorization", authorization.encode()))
        return self.backend.answer(Request("POST", path.encode(), f"Action={action}".encode(), headers, body))

    def call(self, action: str, **body: Any) -> tuple[int | None, dict[str, Any]]:
        answer = self.send(action, json.dumps(body).encode())
        return answer.status, json.loads(answer.body or "null")

    def ok(self, action: str, **body: Any) -> Any:
        status, answer = self.call(action, **body)
        assert status == 200, answer
        return answer["result"]

    def refused(self, action: str, **body: Any) -> tuple[int | None, str]:
        status, answer = self.call(action, **body)
        assert set(answer) == {"requestId", "code", "message"}, answer
        return status, answer["code"]

    def bad_member(self, action: str, **body: Any) -> str:
        """Return the member that an InappropriateJSON answer names."""
        status, answer = self.call(action, **body)
        assert (status, answer.get("code")) == (400, "InappropriateJSON"), answer
        return str(answer["message"].partition("param[")[2].partition("] invalid.")[0])

    def job(self, name: str = "nightly", model: str = "ERNIE-Speed-8K") -> str:
        return str(self.ok("CreateFineTuningJob", name=name, model=model, trainMode="SFT")["jobId"])

    def task(self, job_id: str, **more: Any) -> str:
        body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET, **more}
        return str(self.ok("CreateFineTuningTask", **body)["taskId"])

    def done_task(self, **more: Any) -> str:
        task_id = self.task(self.job(**more))
        self.clock.time += 100
        return task_id

    def model_set(self, name: str = "support-bot") -> str:
        return str(self.ok("CreateCustomModelSet", modelSetName=name, modelType="Text2Text"))


@pytest.fixture
def local() -> Local:
    return Local()


@pytest.fixture
def make_local() -> Callable[..., Local]:
    return Local


@pytest.fixture
def emulator() -> Iterator[QianfanEmulator]:
    with QianfanEmulator(task_seconds=100) as running:
        yield running
