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
from types import TracebackType
from typing import Any, Self

from benchmarks.trainings import Training, job_of, numbers_of


class Counts(ctypes.Structure):
    """What the server has seen so far, in memory that its client shares; ``seen`` are different trainings."""

    requests: int
    opened: int
    open: int
    most_open: int
    seen: int
    _fields_ = [(name, ctypes.c_longlong) for name in ("requests", "opened", "open", "most_open", "seen")]


class Server:
    """The server in its own process.

    :param seconds: length of the trainings.
    :param shared_jobs: whether a hundred of them share a job.
    """

    def __init__(self, seconds: float, *, shared_jobs: bool = False) -> None:
        context = multiprocessing.get_context("spawn")
        self.counts: Counts = context.RawValue(Counts)
        with socket.create_server(("127.0.0.1", 0), backlog=4096) as listening:
            self.port = listening.getsockname()[1]
            self.endpoint = f"http://127.0.0.1:{self.port}"
            arguments = (listening, self.counts, seconds, shared_jobs)
            self._process = context.Process(target=_serve, args=arguments, daemon=True)
            self._process.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.join()


class _Trainings:
    def __init__(self, counts: Counts, seconds: float, shared_jobs: bool) -> None:
        self.counts, self._seconds, self._shared_jobs = counts, seconds, shared_jobs
        self._seen: set[int] = set()

    def answer(self, path: str, body: bytes) -> dict[str, Any]:
        """Answer a request of whichever service's form."""
        now = time.time()
        if path.startswith("/v2/finetuning"):
            request = json.loads(body)
            if "taskId" in request:
                return _qianfan(self._row(int(request["taskId"].removeprefix("task-")), now, detail=True))
            rows = [self._row(number, now) for number in numbers_of(request["jobId"], self._seconds)]
            info = {"maxKeys": 100, "isTruncated": False, "nextMarker": ""}
            return _qianfan({"taskList": rows, "pageInfo": info})
        if path.startswith("/api/2"):
            done = self._is_done(json.loads(body)["run_id"], now)
            state = {"life_cycle_state": "TERMINATED" if done else "RUNNING", "state_message": ""}
            return {"state": {**state, "result_state": "SUCCESS"} if done else state, "tasks": []}
        if path.startswith("/api/v2/accounts"):
            done = self._is_done(int(path.rstrip("/").rpartition("/")[2]), now)
            return {"status": {"code": 200, "is_success": True}, "data": {"status": 10 if done else 3}}
        done = self._is_done(int(json.loads(body)["TrainingJobName"].removeprefix("job-")), now)
        return {"TrainingJobStatus": "Completed" if done else "InProgress"}

    def _training(self, number: int) -> Training:
        self._seen.add(number)
        self.counts.seen = len(self._seen)
        return Training(number, self._seconds)

    def _is_done(self, number: int, now: float) -> bool:
        return self._training(number).status(now) == "Done"

    def _row(self, number: int, now: float, *, detail: bool = False) -> dict[str, Any]:
        training = self._training(number)
        status = training.status(now)
        row = {
            "taskId": f"task-{number}",
            "jobId": job_of(number, self._seconds) if self._shared_jobs else f"job-of-{number}",
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


class _Connection(asyncio.Protocol):
    def __init__(self, trainings: _Trainings) -> None:
        self._trainings, self._counts = trainings, trainings.counts
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._counts.opened += 1
        self._counts.open += 1
        self._counts.most_open = max(self._counts.most_open, self._counts.open)

    def connection_lost(self, exc: Exception | None) -> None:
        self._counts.open -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end]
            _, _, length = head.lower().partition(b"content-length:")
            size = end + 4 + int(length.split(b"\r\n", 1)[0] or 0)
            if len(self._buffer) < size:
                return
            body, self._buffer = self._buffer[end + 4 : size], self._buffer[size:]
            self._counts.requests += 1
            answer = json.dumps(self._trainings.answer(head.split(b" ", 2)[1].decode(), body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(answer), answer)
            )


def _utc(timestamp: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(timestamp))


def _qianfan(result: dict[str, Any]) -> dict[str, Any]:
    return {"requestId": "8b0c5a4e-5d4f-4d0a-9c4e-2a8f3a4c1f00", "result": result}


def _serve(listening: socket.socket, counts: Counts, seconds: float, shared_jobs: bool) -> None:
    async def forever() -> None:
        trainings = _Trainings(counts, seconds, shared_jobs)
        loop = asyncio.get_running_loop()
        server = await loop.create_server(lambda: _Connection(trainings), sock=listening, backlog=4096)
        await server.serve_forever()

    asyncio.run(forever())
