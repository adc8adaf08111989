"""The part of Airflow's REST API that the demo and the system tests need."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from graphlib import TopologicalSorter
from typing import Any

import httpx
from tenacity import Retrying, retry_if_exception_type, retry_if_result, stop_after_attempt, wait_fixed

from local_stack.waiting import PATIENCE, wait_for

FINISHED = frozenset({"success", "failed"})


class AirflowApi:
    """A logged-in client of ``/api/v2``; it logs in when needed."""

    def __init__(self, url: str, user: str, password: str) -> None:
        self._login = {"username": user, "password": password}
        # The API is on this machine: a proxy in the caller's environment is not for it.
        self._http = httpx.Client(base_url=url, timeout=60, trust_env=False)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def request(
        self, method: str, path: str, *, repeatable: bool | None = None, **options: Any
    ) -> httpx.Response:
        """Send one request below ``/api/v2`` and return the answer, whatever its status.

        :param repeatable: whether it may be sent again if no answer came; by default, GET and PATCH may.
        """
        if repeatable is None:
            repeatable = method in {"GET", "PATCH"}
        no_answer = httpx.TransportError if repeatable else httpx.ConnectError
        # An error of the server, such as a locked SQLite, means that nothing was done.
        retry = retry_if_exception_type(no_answer) | retry_if_result(lambda answer: answer.is_server_error)
        retrying = Retrying(
            retry=retry,
            wait=wait_fixed(1),
            stop=stop_after_attempt(5),
            retry_error_callback=lambda state: state.outcome.result() if state.outcome else None,
        )
        response: httpx.Response = retrying(self._send, method, path, **options)
        return response

    def _send(self, method: str, path: str, **options: Any) -> httpx.Response:
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
        return _content(self.request(method, path, **options))

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

    def add_connection(self, connection_id: str, connection: Mapping[str, Any]) -> None:
        """Store a connection, given in Airflow's JSON form, in Airflow's database."""
        extra = connection.get("extra")
        body = {**connection, "connection_id": connection_id, "extra": extra and json.dumps(extra)}
        self.call("POST", "/connections", json=body)

    def unpause(self, dag_id: str) -> None:
        """Let runs of the DAG start."""
        self.call("PATCH", f"/dags/{dag_id}", json={"is_paused": False})

    def trigger(
        self, dag_id: str, conf: Mapping[str, Any] | None = None, *, run_id: str | None = None
    ) -> str:
        """Start a run of an unpaused DAG and return its run id.

        :param run_id: must be new; so a request that got no answer can be sent again.
        """
        run_id = run_id or f"run-{secrets.token_hex(8)}"
        body = {"dag_run_id": run_id, "logical_date": None, "conf": dict(conf or {})}
        answer = self.request("POST", f"/dags/{dag_id}/dagRuns", repeatable=True, json=body)
        if answer.status_code != httpx.codes.CONFLICT:  # the run exists: an earlier request has started it
            _content(answer)
        return run_id

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
        self, dag_id: str, run_id: str, task_id: str, states: str | set[str], *, timeout: float = PATIENCE
    ) -> dict[str, Any]:
        """Wait until the task has (one of) the states, and return the task instance."""
        wanted = {states} if isinstance(states, str) else states
        return wait_for(
            lambda: self.tasks(dag_id, run_id).get(task_id, {}),
            lambda task: task.get("state") in wanted,
            what=f"task {task_id} of {dag_id} / {run_id} is {' or '.join(sorted(wanted))}",
            timeout=timeout,
        )

    def wait_for_run(self, dag_id: str, run_id: str, *, timeout: float = PATIENCE) -> str:
        """Wait until the run has finished, and return its state."""
        return wait_for(
            lambda: self.run_state(dag_id, run_id),
            FINISHED.__contains__,
            what=f"DAG run {dag_id} / {run_id} has finished",
            timeout=timeout,
        )


def _content(response: httpx.Response) -> Any:
    if response.is_error:
        request = response.request
        raise httpx.HTTPStatusError(
            f"{request.method} {request.url.path}: {response.status_code} {response.text[:500]}",
            request=request,
            response=response,
        )
    return response.json() if response.content else None
