"""Lets a task of a real Airflow end at a chosen point; ``dags/crash.py`` installs it in the task's process.

The DAG run chooses: ``conf["crash_at"]`` is ``TASK/POINT``, such as ``train/sent CreateFineTuningJob``. A
``#2`` at its end means the second time a process comes there. ``conf["crash_how"]`` says what happens:

``kill`` (default): the process kills itself with SIGKILL
``kill with supervisor``, ``kill supervisor``: it kills its supervisor too, or only that
``interrupt``: it sends itself SIGINT
``raise``: it raises an error that nobody expects
``lose``: it loses the answer to the request that was just sent
``hold``: it goes on only after Airflow has told it to end
``freeze``: it and its supervisor stop, as on a machine that is paused, until somebody continues them

``conf["crash_mark"]`` is a file that remembers over all attempts that this has happened: it does so once.
"""

from __future__ import annotations

import functools
import os
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

_passes: Counter[str] = Counter()
_installed = False


def install() -> None:
    """Watch over requests, what Airflow is told to remember, deferring, and what follows it."""
    global _installed
    if _installed:
        return
    _installed = True
    import httpx
    from airflow.sdk import BaseOperator
    from airflow.sdk.execution_time import context

    _watch(httpx.HTTPTransport, "handle_request", "sending", "sent", _action)
    if store := getattr(context, "TaskStateStoreAccessor", None):  # 3.3
        _watch(store, "set", "storing", "stored", _stored)
    _watch(BaseOperator, "defer", "deferring", "deferred", lambda *_, **__: "")
    # Airflow calls it for execute_complete.
    _watch(BaseOperator, "resume_execution", "resuming", "resumed", lambda *_, **__: "")


def _action(request: Any) -> str:
    return str(request.url.params.get("Action", ""))


def _stored(key: str, value: Any, **_: Any) -> str:
    return key if value.get("id") else f"{key} without id"


def _watch(owner: Any, method: str, before: str, after: str, name: Callable[..., str]) -> None:
    original = getattr(owner, method)

    @functools.wraps(original)
    def watched(self: Any, *args: Any, **kwargs: Any) -> Any:
        what = name(*args, **kwargs)
        _reach(f"{before} {what}".strip())
        result = original(self, *args, **kwargs)
        _reach(f"{after} {what}".strip())
        return result

    setattr(owner, method, watched)


def _reach(point: str) -> None:
    from airflow.sdk import get_current_context

    try:
        context = get_current_context()
    except RuntimeError:  # not in a task
        return
    conf = context["dag_run"].conf or {}
    _passes[point] += 1
    here = f"{context['ti'].task_id}/{point}"
    if conf.get("crash_at") != (here if _passes[point] == 1 else f"{here}#{_passes[point]}"):
        return
    try:
        with Path(conf["crash_mark"]).open("x") as mark:
            mark.write(f"{os.getppid()} {os.getpid()}")
    except FileExistsError:
        return
    _end(conf.get("crash_how", "kill"), here, context["ti"].task)


def _end(how: str, here: str, task: Any) -> None:
    import httpx

    match how:
        case "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill with supervisor":
            os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)
        case "kill supervisor":
            os.kill(os.getppid(), signal.SIGKILL)
        case "interrupt":
            os.kill(os.getpid(), signal.SIGINT)
        case "raise":
            raise RuntimeError(f"broken on purpose at {here}")
        case "lose":
            raise httpx.ReadError(f"broken on purpose at {here}")
        case "freeze":
            os.kill(os.getppid(), signal.SIGSTOP)
            os.kill(os.getpid(), signal.SIGSTOP)
        case "hold":
            told = _told_to_end(task)
            while not told():
                time.sleep(0.05)
        case _:
            raise AssertionError(how)


def _told_to_end(task: Any) -> Callable[[], bool]:
    """Return what says whether Airflow has called ``on_kill`` of this task."""
    calls: list[None] = []
    original = task.on_kill

    def on_kill() -> None:
        calls.append(None)
        original()

    object.__setattr__(task, "on_kill", on_kill)
    return lambda: bool(calls)
