"""The routes behind the views. Airflow does not ask who calls the app of a plugin, so each route does.

They only read. What comes from the service is sent as JSON, and the browser shows it as text.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from airflow.api_fastapi.app import get_auth_manager
from airflow.api_fastapi.auth.managers.models.resource_details import (
    ConnectionDetails,
    DagAccessEntity,
    DagDetails,
)
from airflow.api_fastapi.common.db.common import SessionDep
from airflow.api_fastapi.core_api.security import (
    GetUserDep,
    get_user,
    requires_access_connection,
    requires_access_dag,
)
from airflow.models import Connection, DagModel
from airflow.utils.session import create_session
from fastapi import Depends, FastAPI, HTTPException, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse, RedirectResponse
from sqlalchemy import select
from starlette.concurrency import run_in_threadpool
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from airflow_qianfan.compat import AirflowNotFoundException
from airflow_qianfan.exceptions import QianfanError
from airflow_qianfan.hooks.qianfan import QianfanHook
from airflow_qianfan.plugins.origins import find_origins
from airflow_qianfan.plugins.page import compare, list_details, list_part
from airflow_qianfan.plugins.reader import Reader
from airflow_qianfan.plugins.runs import Task, TaskKey, read_arguments, read_earlier, read_run, read_task
from airflow_qianfan.plugins.task_view import TaskFacts, find_page, make_task_view
from airflow_qianfan.plugins.views import Comparison, ConnectionsView, Rows, TaskView

EARLIER = 5
"""How many earlier runs of a task are shown."""

STATIC = Path(__file__).parent / "static"

HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    # The browser asks whether a file has changed, and keeps nothing else.
    "cache-control": "private, no-cache",
}

Kind = Literal["trainings", "models", "services", "batch-inferences", "imports"]


class _Headers:
    """Adds headers to all answers, also to those that refuse."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                own = [(name.encode(), value.encode()) for name, value in HEADERS.items()]
                message["headers"] = [*message.get("headers", []), *own]
            await send(message)

        await self._app(scope, receive, send_with_headers)


# Without a page of documentation: that one would load scripts from elsewhere.
app = FastAPI(title="Qianfan", openapi_url=None, docs_url=None, redoc_url=None)
app.add_middleware(_Headers)
_files = StaticFiles(directory=STATIC)


@app.exception_handler(QianfanError)
async def _answer_error(request: Request, error: QianfanError) -> JSONResponse:
    return JSONResponse({"detail": str(error)}, status_code=502)


@app.exception_handler(AirflowNotFoundException)
async def _answer_missing(request: Request, error: AirflowNotFoundException) -> JSONResponse:
    return JSONResponse({"detail": "There is no such connection."}, status_code=404)


_OF_TASKS = (DagAccessEntity.TASK_INSTANCE, DagAccessEntity.XCOM)
"""What a viewer has to be allowed to read of a DAG, to be shown its tasks, their arguments and results."""

_READS_TASK = [Depends(requires_access_dag("GET", entity)) for entity in _OF_TASKS]


@app.get("/task", dependencies=[Depends(get_user)])
async def task_page(request: Request) -> Response:
    """Return the page in the tab of a task instance."""
    return await _files.get_response("task.html", request.scope)


@app.get("/page", dependencies=[Depends(get_user)])
async def overview_page(request: Request) -> Response:
    """Return the page of the navigation."""
    return await _files.get_response("page.html", request.scope)


@app.get("/static/{path:path}", dependencies=[Depends(get_user)])
async def static_file(path: str, request: Request) -> Response:
    """Return a file of the pages."""
    return await _files.get_response(path, request.scope)


def _read_facts(
    session: SessionDep,
    dag_id: str,
    run_id: str,
    task_id: str,
    map_index: int = -1,
) -> TaskFacts:
    key = TaskKey(dag_id, run_id, task_id, map_index)
    task = read_task(session, key)
    if task is None:
        raise HTTPException(404, "There is no such task instance.")
    if not task.is_ours:
        return TaskFacts(task, [], [])
    return TaskFacts(task, read_run(session, key), read_earlier(session, key, task.started, EARLIER))


@app.get("/api/task", dependencies=_READS_TASK)
async def task_view(facts: Annotated[TaskFacts, Depends(_read_facts)]) -> TaskView:
    """Return what the tab of a task instance shows."""
    if not facts.task.is_ours:
        return TaskView(is_ours=False, now=time.time())
    return await make_task_view(facts, time.time())


@app.get("/visualdl", dependencies=_READS_TASK)
async def visualdl(facts: Annotated[TaskFacts, Depends(_read_facts)]) -> Response:
    """Lead on to the page in VisualDL that shows the curves of a task's training."""
    url, problem = await find_page(facts.task, "visualdl")
    if url is None:
        return PlainTextResponse(problem or "Qianfan shows no page in VisualDL, or not yet.", 404)
    return RedirectResponse(url, status_code=303)


@app.get("/api/connections")
def connections(session: SessionDep, user: GetUserDep) -> ConnectionsView:
    """Return the connections that the viewer may read; those outside the database are not listed."""
    rows = session.scalars(select(Connection.conn_id).where(Connection.conn_type == QianfanHook.conn_type))
    found = {row for row in rows if _may_read(row, user)}
    if _may_read(QianfanHook.default_conn_name, user):
        found.add(QianfanHook.default_conn_name)
    return ConnectionsView(connections=sorted(found))


def _may_read_tasks(dag_id: str, user: Any) -> bool:
    details = DagDetails(id=dag_id, team_name=DagModel.get_team_name(dag_id))
    manager = get_auth_manager()
    return all(
        manager.is_authorized_dag(method="GET", access_entity=entity, details=details, user=user)
        for entity in _OF_TASKS
    )


def _may_read(connection_id: str, user: Any) -> bool:
    details = ConnectionDetails(conn_id=connection_id, team_name=Connection.get_team_name(connection_id))
    return get_auth_manager().is_authorized_connection(method="GET", details=details, user=user)


class _Viewer:
    """Looks up in Airflow what one viewer may know."""

    def __init__(self, user: Any) -> None:
        self._user = user

    async def find_origins(self, descriptions: Mapping[str, str | None]) -> dict[str, TaskKey]:
        """Return the tasks that have made objects, of DAGs whose tasks the viewer may read."""
        return await run_in_threadpool(self._find_origins, descriptions)

    async def find_tasks(self, origins: Mapping[str, TaskKey]) -> Sequence[Task]:
        """Return the tasks that have begun or awaited trainings, from origins that the viewer may read."""
        return await run_in_threadpool(self._find_tasks, origins)

    def _find_origins(self, descriptions: Mapping[str, str | None]) -> dict[str, TaskKey]:
        if not any(descriptions.values()):
            return {}
        with create_session() as session:
            found = find_origins(session, descriptions)
        readable = {
            dag_id for dag_id in {key.dag_id for key in found.values()} if _may_read_tasks(dag_id, self._user)
        }
        return {object_id: key for object_id, key in found.items() if key.dag_id in readable}

    def _find_tasks(self, origins: Mapping[str, TaskKey]) -> Sequence[Task]:
        with create_session() as session:
            return read_arguments(session, origins)


def _viewer(user: GetUserDep) -> _Viewer:
    # A function: what the constructor of a class needs is not found out by the FastAPI of Airflow 3.1.
    return _Viewer(user)


ViewerDep = Annotated[_Viewer, Depends(_viewer)]
_READS_CONNECTION = [Depends(requires_access_connection("GET"))]


@app.get("/api/connections/{connection_id}/compare", dependencies=_READS_CONNECTION)
async def comparison(
    connection_id: str,
    training: Annotated[list[str], Query(min_length=2, max_length=10)],
    viewer: ViewerDep,
) -> Comparison:
    """Return trainings side by side."""
    reader = Reader(connection_id)
    return await compare(reader, training, time.time(), viewer.find_origins, viewer.find_tasks)


@app.get("/api/connections/{connection_id}/{kind}", dependencies=_READS_CONNECTION)
async def rows(connection_id: str, kind: Kind, viewer: ViewerDep, marker: str | None = None) -> Rows:
    """Return a part of a list."""
    return await list_part(Reader(connection_id), kind, marker, time.time(), viewer.find_origins)


@app.get("/api/connections/{connection_id}/{kind}/details", dependencies=_READS_CONNECTION)
async def details(
    connection_id: str,
    kind: Literal["trainings", "models", "imports"],
    group: Annotated[list[str], Query(min_length=1, max_length=50)],
    viewer: ViewerDep,
) -> Rows:
    """Return the rows that take the place of pending ones."""
    return await list_details(Reader(connection_id), kind, group, time.time(), viewer.find_origins)
