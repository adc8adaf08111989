"""A raw asyncio HTTP server in a process of its own, which plays trainings for all contenders alike.

It answers the status requests of Qianfan, Databricks, dbt Cloud and SageMaker, and does as little else as it
can, so that the contenders and not the server are measured. A line on its standard input asks for its counts.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from airflow_qianfan.api.signing import canonical_time
from benchmarks.trainings import Training, job_of, numbers_of

ROOT = Path(__file__).resolve().parents[1]


@dataclass
class Counts:
    """What the server has seen so far; ``seen`` are different trainings."""

    requests: int = 0
    opened: int = 0
    open: int = 0
    most_open: int = 0
    seen: int = 0


@dataclass
class _State:
    seconds: float
    shared_jobs: bool
    counts: Counts = field(default_factory=Counts)
    seen: set[int] = field(default_factory=set)


class _Connection(asyncio.Protocol):
    def __init__(self, state: _State) -> None:
        self._state = state
        self._buffer = b""
        self._transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        counts = self._state.counts
        counts.opened += 1
        counts.open += 1
        counts.most_open = max(counts.most_open, counts.open)

    def connection_lost(self, exc: Exception | None) -> None:
        self._state.counts.open -= 1

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = self._buffer[:end].lower()
            length = 0
            if (place := head.find(b"content-length:")) >= 0:
                length = int(head[place + 15 :].split(b"\r\n", 1)[0])
            size = end + 4 + length
            if len(self._buffer) < size:
                return
            body, line = self._buffer[end + 4 : size], self._buffer[: self._buffer.find(b"\r\n")]
            self._buffer = self._buffer[size:]
            self._state.counts.requests += 1
            answer = json.dumps(self._answer(line.decode(), body)).encode()
            self._transport.write(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b"
                % (len(answer), answer)
            )

    def _answer(self, line: str, body: bytes) -> dict[str, Any]:
        path, now = line.split(" ")[1], time.time()
        if path.startswith("/v2/finetuning"):
            request = json.loads(body)
            if "taskId" in request:
                number = int(request["taskId"].removeprefix("task-"))
                return _qianfan(self._row(self._training(number), now, detail=True))
            numbers = numbers_of(request["jobId"], self._state.seconds)
            rows = [self._row(self._training(number), now) for number in numbers]
            info = {"maxKeys": 100, "isTruncated": False, "nextMarker": ""}
            return _qianfan({"taskList": rows, "pageInfo": info})
        if path.startswith("/api/2"):
            done = self._training(json.loads(body)["run_id"]).is_done(now)
            state = {"life_cycle_state": "TERMINATED" if done else "RUNNING", "state_message": ""}
            return {"state": {**state, "result_state": "SUCCESS"} if done else state, "tasks": []}
        if path.startswith("/api/v2/accounts"):
            done = self._training(int(path.rstrip("/").rpartition("/")[2])).is_done(now)
            return {"status": {"code": 200, "is_success": True}, "data": {"status": 10 if done else 3}}
        done = self._training(int(json.loads(body)["TrainingJobName"].removeprefix("job-"))).is_done(now)
        return {"TrainingJobStatus": "Completed" if done else "InProgress"}

    def _training(self, number: int) -> Training:
        self._state.seen.add(number)
        return Training(number, self._state.seconds)

    def _job_id(self, number: int) -> str:
        return job_of(number, self._state.seconds) if self._state.shared_jobs else f"job-of-{number}"

    def _row(self, training: Training, now: float, *, detail: bool = False) -> dict[str, Any]:
        done = training.is_done(now)
        status = "Done" if done else "Waiting" if training.is_waiting(now) else "Running"
        row = {
            "taskId": f"task-{training.number}",
            "jobId": self._job_id(training.number),
            "jobName": "benchmark",
            "jobDescription": "",
            "model": "ERNIE-Speed-8K",
            "trainMode": "SFT",
            "parameterScale": "LoRA",
            "runStatus": status,
            "createDate": canonical_time(training.created),
            "finishDate": canonical_time(training.end) if done else "0000-00-00T00:00:00Z",
        }
        if detail:
            row["vdlLink"] = "https://console.bce.baidu.com/qianfan/visualdl/index?displayToken=eyJydW5JZCI6"
            if status == "Running":
                row["runProgress"] = training.progress(now)
        return row


def _qianfan(result: dict[str, Any]) -> dict[str, Any]:
    return {"requestId": "8b0c5a4e-5d4f-4d0a-9c4e-2a8f3a4c1f00", "result": result}


class Server:
    """The server in its own process.

    :param seconds: length of the trainings.
    :param shared_jobs: whether a hundred of them share a job.
    """

    def __init__(self, seconds: float, *, shared_jobs: bool = False) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.server", str(seconds), str(int(shared_jobs))],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._in, self._out = self._process.stdin, self._process.stdout
        self.port = int(self._out.readline())

    @property
    def endpoint(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    def counts(self) -> Counts:
        """Ask for its counts."""
        self._in.write("counts\n")
        self._in.flush()
        return Counts(**json.loads(self._out.readline()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._in.close()
        self._process.wait(20)
        self._out.close()


async def _main(seconds: float, shared_jobs: bool) -> None:
    state = _State(seconds, shared_jobs)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: _Connection(state), "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    while await asyncio.to_thread(sys.stdin.readline):
        state.counts.seen = len(state.seen)
        print(json.dumps(asdict(state.counts)), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(float(sys.argv[1]), sys.argv[2] == "1"))
