"""A raw asyncio HTTP server in a process of its own, which plays trainings for all contenders alike.

It answers the status requests of Qianfan, Databricks, dbt Cloud and SageMaker, and does as little else as it
can, so that the contenders and not the server are measured.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import multiprocessing
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from benchmarks.trainings import PER_JOB, ROOM, Training, number_of


class Shared(ctypes.Structure):
    """What the server counts, in memory that the contender's process shares."""

    port: int
    requests: int
    opened: int
    open: int
    most_open: int
    seen: int
    """Different trainings that were asked for."""
    base: int
    """When trainings with shared jobs have the ages of :func:`number_of`, in ms; 0: no job is shared."""
    _fields_ = [(name, ctypes.c_longlong) for name in __annotations__]


@contextmanager
def server(seconds: float) -> Iterator[Shared]:
    """Run the server.

    :param seconds: length of the trainings.
    """
    context = multiprocessing.get_context("spawn")
    shared: Shared = context.RawValue(Shared)
    with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
        shared.port = listening.getsockname()[1]
        process = context.Process(target=_serve, args=(listening, shared, seconds), daemon=True)
        process.start()
    try:
        yield shared
    finally:
        process.terminate()
        process.join()


def job_of(number: int, shared: Shared) -> str:
    """Return the id of a training's job."""
    return f"job-{number % ROOM // PER_JOB}" if shared.base else f"job-of-{number}"


class _Connection(asyncio.Protocol):
    def __init__(self, shared: Shared, seconds: float, seen: set[int]) -> None:
        self._shared, self._seconds, self._seen = shared, seconds, seen
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._shared.opened += 1
        self._shared.open += 1
        self._shared.most_open = max(self._shared.most_open, self._shared.open)

    def connection_lost(self, exc: Exception | None) -> None:
        self._shared.open -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            _, _, length = head.lower().partition(b"content-length:")
            size = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._shared.requests += 1
            answer = json.dumps(self._answer(head.split(b" ", 2)[1].decode(), body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(answer), answer)
            )

    def _answer(self, path: str, body: bytes) -> dict[str, Any]:
        if path.startswith("/v2/finetuning"):
            return {
                "requestId": "8b0c5a4e-5d4f-4d0a-9c4e-2a8f3a4c1f00",
                "result": self._qianfan(**json.loads(body)),
            }
        if path.startswith("/api/2"):
            done = self._is_done(json.loads(body)["run_id"])
            state = {"life_cycle_state": "TERMINATED" if done else "RUNNING", "state_message": ""}
            return {"state": {**state, "result_state": "SUCCESS"} if done else state, "tasks": []}
        if path.startswith("/api/v2/accounts"):
            done = self._is_done(path.rstrip("/").rpartition("/")[2])
            return {"status": {"code": 200, "is_success": True}, "data": {"status": 10 if done else 3}}
        done = self._is_done(json.loads(body)["TrainingJobName"].removeprefix("job-"))
        return {"TrainingJobStatus": "Completed" if done else "InProgress"}

    def _qianfan(self, taskId: str = "", jobId: str = "", **_: Any) -> dict[str, Any]:
        if taskId:
            return self._row(int(taskId.removeprefix("task-")), detail=True)
        first = int(jobId.removeprefix("job-")) * PER_JOB
        numbers = [number_of(first + n, self._shared.base, self._seconds) for n in range(PER_JOB)]
        info = {"maxKeys": 100, "isTruncated": False, "nextMarker": ""}
        return {"taskList": [self._row(number) for number in numbers], "pageInfo": info}

    def _row(self, number: int, *, detail: bool = False) -> dict[str, Any]:
        training, now = self._training(number), time.time()
        status = training.status(now)
        row = {
            "taskId": f"task-{number}",
            "jobId": job_of(number, self._shared),
            "jobName": "benchmark",
            "jobDescription": "",
            "model": "ERNIE-Speed-8K",
            "trainMode": "SFT",
            "parameterScale": "LoRA",
            "runStatus": status,
            "createDate": _utc(training.created),
            "finishDate": _utc(training.end) if status == "Done" else "0000-00-00T00:00:00Z",
        }
        if detail:
            row["vdlLink"] = "https://console.bce.baidu.com/qianfan/visualdl/index?displayToken=eyJydW5JZCI6"
            if status == "Running":
                row["runProgress"] = training.progress(now)
        return row

    def _is_done(self, number: int | str) -> bool:
        return self._training(int(number)).status(time.time()) == "Done"

    def _training(self, number: int) -> Training:
        self._seen.add(number)
        self._shared.seen = len(self._seen)
        return Training(number, self._seconds)


def _utc(timestamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))


def _serve(listening: socket.socket, shared: Shared, seconds: float) -> None:
    async def forever() -> None:
        loop, seen = asyncio.get_running_loop(), set[int]()
        connection = await loop.create_server(
            lambda: _Connection(shared, seconds, seen), sock=listening, backlog=4096
        )
        await connection.serve_forever()

    asyncio.run(forever())
