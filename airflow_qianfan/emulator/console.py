"""A small console: what the emulator remembers, as web pages at the paths of Baidu's own console."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from airflow_qianfan.emulator.backend import Backend
from airflow_qianfan.emulator.data import DatasetVersion, ImportTask
from airflow_qianfan.emulator.deployment import Service
from airflow_qianfan.emulator.model import Model
from airflow_qianfan.emulator.records import Record
from airflow_qianfan.emulator.store import View
from airflow_qianfan.emulator.training import Job, Task

if TYPE_CHECKING:
    import jinja2

_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 sans-serif; margin: 2em; color: #222 }
table { border-collapse: collapse; margin-bottom: 2em }
th, td { border: 1px solid #ccc; padding: .3em .7em; text-align: left; vertical-align: top }
th { background: #f3f3f3 }
pre { background: #f3f3f3; padding: 1em; overflow: auto }
</style>
</head>
<body>
<p><a href="/">Qianfan emulator</a></p>
<h1>{{ title }}</h1>
{% for section in sections %}
<h2>{{ section.heading }}</h2>
{% if section.text is defined %}
<pre>{{ section.text }}</pre>
{% elif section.rows %}
<table>
<tr>{% for name in section.columns %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in section.rows %}
<tr>
{% for cell in row.cells %}
<td>
{% if loop.first and row.path %}
<a href="{{ row.path }}">{{ cell }}</a>
{% else %}
{{ cell }}
{% endif %}
</td>
{% endfor %}
</tr>
{% endfor %}
</table>
{% else %}
<p>None.</p>
{% endif %}
{% endfor %}
</body>
</html>
"""
_HEADERS = {"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'"}


class Console:
    """The pages. They are not signed and can only be read."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def routes(self) -> list[Route]:
        """Return the paths."""
        return [
            Route("/", self.index),
            Route("/qianfan/data/dataset/{version_id}/detail", self.dataset_version),
            Route("/qianfan/modelcenter/model/user/list", self.models),
            Route("/qianfan/ais/console/onlineService", self.services),
            Route("/qianfan/train/{mode}/{job_id}/{task_id}/detail/traininglog", self.training),
            Route("/qianfan/visualdl/index", self.visualdl),
        ]

    async def index(self, request: Request) -> Response:
        """Show all objects."""
        with self._backend.lock:
            view = self._backend.view()
            return _page("All objects", [_listed(view, kind) for kind in Record.kinds.values()])

    async def dataset_version(self, request: Request) -> Response:
        """Show one version of a data set, and the imports into it."""
        version_id = request.path_params["version_id"]
        with self._backend.lock:
            view = self._backend.view()
            version = view.get(DatasetVersion, version_id)
            if version is None:
                return _page(f"There is no data-set version {version_id}", [], status=404)
            imports = [task.show(view) for task in version.imports(view)]
            sections = [
                _table("State", [version.show(view)], DatasetVersion.columns),
                _table(ImportTask.heading, imports, ImportTask.columns),
            ]
            return _page(f"Data-set version {version_id}", sections)

    async def models(self, request: Request) -> Response:
        """Show the versions of models."""
        with self._backend.lock:
            return _page("My models", [_listed(self._backend.view(), Model)])

    async def services(self, request: Request) -> Response:
        """Show the services."""
        with self._backend.lock:
            return _page("My services", [_listed(self._backend.view(), Service)])

    async def training(self, request: Request) -> Response:
        """Show one training: what it was asked to do, how far it is, and what came out."""
        job_id, task_id = request.path_params["job_id"], request.path_params["task_id"]
        with self._backend.lock:
            view = self._backend.view()
            job, task = view.get(Job, job_id), view.get(Task, task_id)
            if job is None or task is None or task.job_id != job_id:
                return _page(f"There is no training {task_id} of the job {job_id}", [], status=404)
            shown = task.show(view)
            sections = [
                _table("State", [shown], Task.columns),
                *_curves(shown),
                {"heading": "Request of the training", "text": _json(task.request)},
                {"heading": "Request of the job", "text": _json(job.request)},
            ]
            return _page(f"Training {task_id}", sections)

    async def visualdl(self, request: Request) -> Response:
        """Show the numbers that VisualDL would draw."""
        token = request.query_params.get("displayToken", "")
        with self._backend.lock:
            view = self._backend.view()
            for task in view.all(Task):
                if task.vdl_token() == token:
                    return _page(f"Curves of training {task.id}", _curves(task.show(view)))
        return _page("There are no such curves", [], status=404)


def _curves(shown: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        _table("Metrics", [shown["metrics"]] if shown.get("metrics") else []),
        _table("Checkpoints", shown.get("checkpointList", [])),
    ]


def _listed(view: View, kind: type[Record]) -> dict[str, Any]:
    records = view.all(kind)
    section = _table(kind.heading, [record.show(view) for record in records], kind.columns)
    for row, record in zip(section["rows"], records, strict=True):
        row["path"] = record.console_path(view)
    return section


def _table(heading: str, rows: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> dict[str, Any]:
    names = columns or tuple(rows[0] if rows else ())
    cells = [{"cells": [_cell(row.get(name, "")) for name in names]} for row in rows]
    return {"heading": heading, "columns": names, "rows": cells}


def _cell(value: Any) -> Any:
    return ", ".join(map(str, value)) if isinstance(value, list) else value


def _json(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False)


def _page(title: str, sections: list[dict[str, Any]], status: int = 200) -> Response:
    return HTMLResponse(_template().render(title=title, sections=sections), status, _HEADERS)


@cache
def _template() -> jinja2.Template:
    # Needed for the console alone, and slow to import.
    import jinja2

    return jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_PAGE)
