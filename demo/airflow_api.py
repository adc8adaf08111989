"""The part of Airflow's REST API that the demo and the system tests need."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from graphlib import TopologicalSorter
from typing import Any, TypeVar

import httpx

_T = TypeVar("_T")
FINISHED = frozenset({"success", "failed"})


class AirflowApi:
    """A logged-in client of ``/api/v2``; it logs in when needed."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._login = {"username": user, "password": password}
        # The API is on this machine: a proxy in the caller's environment is not for it.
        self._http = httpx.Client(base_url=url, timeout=20, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(self, method: str, path: str, **options: Any) -> httpx.Response:
        """Send one request below ``/api/v2`` and return the answer, whatever its status."""
        if "Authorization" not in self._http.headers:
            self._log_in()
        response = self._http.request(method, f"/api/v2{path}", **options)
        if response.status_code == httpx.codes.UNAUTHORIZED:
            self._log_in()
            response = self._http.request(method, f"/api/v2{path}", **options)
        return response

    def _log_in(self) -> None:
        answer = self._http.post("/auth/token", json=self._login).raise_for_status()
        self._http.headers["Authorization"] = f"Bearer {answer.json()['access_token']}"

    def call(self, method: str, path: str, **options: Any) -> Any:
        """Send one request and return the decoded answer; raise on an error status."""
        response = self.request(method, path, **options)
        if response.is_error:
            raise httpx.HTTPStatusError(
                f"{method} {path}: {response.status_code} {response.text[:500]}",
                request=response.request,
                response=response,
            )
        return response.json() if response.content else None

    def health(self) -> dict[str, str | None]:
        """Status per component; asks without a login."""
        answer = self._http.get("/api/v2/monitor/health")
        if answer.is_error:
            return {}
        return {name: (entry or {}).get("status") for name, entry in answer.json().items()}

    def has_dag(self, dag_id: str) -> bool:
        """Whether the DAG has been parsed."""
        return self.request("GET", f"/dags/{dag_id}").is_success

    def import_errors(self) -> list[str]:
        """One text per broken DAG file."""
        errors = self.call("GET", "/importErrors")["import_errors"]
        return [f"{error['filename']}:\n{error['stack_trace']}" for error in errors]

    def task_order(self, dag_id: str) -> list[str]:
        """Task ids of a DAG, each after the tasks it waits for."""
        tasks = self.call("GET", f"/dags/{dag_id}/tasks")["tasks"]
        waits_for: dict[str, set[str]] = {task["task_id"]: set() for task in tasks}
        for task in tasks:
            for follower in task["downstream_task_ids"]:
                waits_for[follower].add(task["task_id"])
        return list(TopologicalSorter(waits_for).static_order())

    def trigger(self, dag_id: str, conf: Mapping[str, Any] | None = None) -> str:
        """Unpause the DAG, start a run, and return its run id."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})
        body = {"logical_date": None, "conf": dict(conf or {})}
        return str(self.call("POST", f"/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def run_state(self, dag_id: str, run_id: str) -> str:
        """State of a DAG run."""
        return str(self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}")["state"])

    def tasks(self, dag_id: str, run_id: str) -> dict[str, dict[str, Any]]:
        """Task instances by task id; for mapped tasks the last map index."""
        answer = self.call("GET", f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances", params={"limit": 100})
        return {task["task_id"]: task for task in answer["task_instances"]}

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1) -> list[dict[str, Any]]:
        """Entries of a task's log as Airflow's UI gets them; empty while there is none."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/logs/{try_number}"
        response = self.request(
            "GET", path, headers={"Accept": "application/json"}, params={"full_content": True}
        )
        content = response.json()["content"] if response.is_success else []
        return [entry if isinstance(entry, dict) else {"event": str(entry)} for entry in content]

    def xcom(self, dag_id: str, run_id: str, task_id: str, key: str = "return_value") -> Any:
        """An XCom value, or None if there is none."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}/xcomEntries/{key}"
        response = self.request("GET", path, params={"stringify": False})
        return response.json()["value"] if response.is_success else None

    def set_task_state(self, dag_id: str, run_id: str, task_id: str, state: str) -> None:
        """Mark a task ``success`` or ``failed``, as the UI's button does."""
        path = f"/dags/{dag_id}/dagRuns/{run_id}/taskInstances/{task_id}"
        self.call("PATCH", path, json={"new_state": state})

    def clear_tasks(self, dag_id: str, run_id: str, task_ids: list[str], *, downstream: bool = False) -> None:
        """Clear tasks of a run so that they run again, whatever their state."""
        body = {
            "dag_run_id": run_id,
            "task_ids": task_ids,
            "dry_run": False,
            "only_failed": False,
            "reset_dag_runs": True,
            "include_downstream": downstream,
        }
        self.call("POST", f"/dags/{dag_id}/clearTaskInstances", json=body)

    def wait_for_task(
        self, dag_id: str, run_id: str, task_id: str, states: str | set[str], *, timeout: float = 60
    ) -> dict[str, Any]:
        """Wait until the task has (one of) the states, and return the task instance."""
        wanted = {states} if isinstance(states, str) else states
        return _poll(
            lambda: self.tasks(dag_id, run_id).get(task_id, {}),
            lambda task: task.get("state") in wanted,
            f"{dag_id}.{task_id} is not {' or '.join(sorted(wanted))}",
            timeout,
        )

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = 120) -> str:
        """Wait until the run has finished, and return its state."""
        return _poll(
            lambda: self.run_state(dag_id, run_id),
            FINISHED.__contains__,
            f"{dag_id} is not finished",
            timeout,
        )


def _poll(read: Callable[[], _T], done: Callable[[_T], bool], what: str, timeout: float) -> _T:
    deadline = time.monotonic() + timeout
    while not done(value := read()):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what} after {timeout:g} s, but {value}")
        time.sleep(0.3)
    return value
