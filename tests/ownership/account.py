"""A Qianfan account in this process: the emulator without sockets, in a time of its own."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import parse_qs

import httpx
import tenacity.nap

from airflow_qianfan.emulator import Assumptions, QianfanEmulator
from airflow_qianfan.emulator import backend as core
from airflow_qianfan.operators.base import begin, lookup, poll, submission
from airflow_qianfan.triggers.base import cancel, polling

DATASET = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
FILES = {
    "bucket": "b",
    "objectPath": "p0",
    "modelFormat": "Safetensors",
    "modelApplicationType": "chat",
}
HOUR = 3600.0
_MODULES: tuple[Any, ...] = (begin, lookup, poll, submission, cancel, polling, tenacity.nap)


class VirtualTime:
    """Stands for the module ``time`` where the package sleeps and looks at the clock."""

    def __init__(self, account: Account) -> None:
        self._account = account

    def sleep(self, seconds: float) -> None:
        self._account.advance(seconds)

    def monotonic(self) -> float:
        return time.monotonic() + self._account.passed

    def time(self) -> float:
        return time.time() + self._account.passed


class Account:
    """What a Qianfan account holds, and what its users' clients send to it.

    ``before`` and ``after`` are told the Action of each request; what they raise reaches the client's caller,
    as the death of its process does.
    """

    def __init__(self, **assumptions: Any) -> None:
        self.emulator = QianfanEmulator(
            task_seconds=HOUR, model_seconds=HOUR, port=9, assumptions=Assumptions(**assumptions)
        )
        self.backend = self.emulator._backend
        self.passed = 0.0
        self.before: Callable[[str], None] = lambda action: None
        self.after: Callable[[str], None] = lambda action: None
        self.before_async: Callable[[], Awaitable[Any]] = lambda: asyncio.sleep(0)

    def patch(self, patch: Any) -> None:
        """Lead all clients of this process here.

        :param patch: a ``pytest.MonkeyPatch``.
        """

        async def handle_async(transport: Any, request: httpx.Request) -> httpx.Response:
            await self.before_async()
            return self.answer(request)

        patch.setattr(httpx.HTTPTransport, "handle_request", lambda transport, request: self.answer(request))
        patch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle_async)
        for module in _MODULES:
            patch.setattr(module, "time", VirtualTime(self))
        # The event loop's time is real, and no log is waited for.
        patch.setattr(cancel, "LOG_SECONDS", 0.0)
        self.connect(patch)

    def connect(self, patch: Any, **members: Any) -> None:
        """Write the default connection.

        :param members: what it holds besides, or instead; ``extra`` is added to.
        """
        connection = json.loads(self.emulator.connection_json)
        extra = {"verify": False, "max_retries": 0, **members.pop("extra", {})}
        connection |= {**members, "extra": connection.get("extra", {}) | extra}
        patch.setenv("AIRFLOW_CONN_QIANFAN_DEFAULT", json.dumps(connection))

    def answer(self, request: httpx.Request) -> httpx.Response:
        action = parse_qs(request.url.query.decode())["Action"][0]
        self.before(action)
        path, _, query = request.url.raw_path.partition(b"?")
        headers = [(name.lower(), value) for name, value in request.headers.raw]
        found = self.backend.answer(core.Request(request.method, path, query, headers, request.content))
        self.after(action)
        if found.hold:
            raise httpx.ReadTimeout("no answer in time", request=request)
        if found.status is None:
            raise httpx.ReadError("connection reset", request=request)
        return httpx.Response(found.status, headers=found.headers, stream=httpx.ByteStream(found.body))

    def advance(self, seconds: float) -> None:
        """Let time pass."""
        self.passed += seconds
        self.emulator.advance(seconds)

    def fail(self, action: str, kind: str, **options: Any) -> None:
        """Order a fault for the next call of an Action; see :meth:`QianfanEmulator.fail_next`."""
        self.emulator.fail_next(action, kind=kind, **options)

    # What a test needs to be there, made by nobody who is tested.

    def make(self, route: str, action: str, **body: Any) -> Any:
        """Call an Action from Baidu's console, and return its result."""
        known = core.ROUTES[route][action]
        with self.backend.lock:
            call = core.Call(
                body=json.loads(json.dumps(body)),
                store=self.backend.store,
                now=self.backend.store.now(),
                assumptions=self.backend.assumptions,
                task_seconds=self.backend.task_seconds,
                model_seconds=self.backend.model_seconds,
            )
            return known.run(call)

    def make_job(self, name: str = "shared") -> str:
        job = self.make(
            "/v2/finetuning", "CreateFineTuningJob", name=name, model="ERNIE-Speed-8K", trainMode="SFT"
        )
        return str(job["jobId"])

    def make_task(self, job_id: str) -> str:
        body = {"jobId": job_id, "hyperParameterConfig": {}, "datasetConfig": DATASET}
        return str(self.make("/v2/finetuning", "CreateFineTuningTask", **body)["taskId"])

    def make_set(self, name: str = "bot") -> str:
        return str(self.make("/v2/model", "CreateCustomModelSet", modelSetName=name, modelType="Text2Text"))

    def stop(self, task_id: str) -> None:
        """Stop a training in the console."""
        self.make("/v2/finetuning", "StopFineTuningTask", taskId=task_id)

    def delete(self, object_id: str) -> None:
        """Delete something in the console, with all that belongs to it."""
        store = self.backend.store
        for table in store._tables.values():
            for record in list(table.values()):
                parents = (getattr(record, "job_id", None), getattr(record, "model_set_id", None))
                if object_id in (record.id, *parents):
                    store.remove(record)

    # What there is, and what was sent.

    def ids(self, kind: str) -> list[str]:
        """Return the ids of all objects of a kind, oldest first."""
        member = {"job": "jobId", "task": "taskId", "model_set": "modelSetId", "model": "modelId"}[kind]
        return [found[member] for found in self.emulator.objects(kind)]

    def states(self) -> dict[str, str]:
        """Return the state of each training and each version."""
        tasks = {task["taskId"]: task["runStatus"] for task in self.emulator.tasks}
        return tasks | {model["modelId"]: model["status"] for model in self.emulator.models}

    @property
    def active(self) -> list[str]:
        """The trainings and versions that go on."""
        return [
            found for found, state in self.states().items() if state in ("Waiting", "Running", "Creating")
        ]

    def sent(self, action: str) -> list[dict[str, Any]]:
        """Return the ids that each call of an Action was about."""
        return [entry["ids"] for entry in self.emulator.journal if entry["action"] == action]
