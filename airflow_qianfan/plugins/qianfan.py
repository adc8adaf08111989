"""What Airflow loads, in all of its processes: so it names the views, and imports nothing that they need."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from airflow.plugins_manager import AirflowPlugin

log = logging.getLogger(__name__)

PREFIX = "qianfan"
"""Under which path of the API server everything is."""

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Any]]
Send = Callable[[Any], Awaitable[None]]


class DeferredApp:
    """The app behind the views, which is imported at the first request, by the API server alone.

    Where that fails, its requests are answered with 503, and Airflow goes on.
    """

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        try:
            app = await asyncio.to_thread(self._load)
        except Exception:
            log.exception("The views of Qianfan cannot be shown")
            await _answer_unavailable(scope, send)
        else:
            await app(scope, receive, send)

    def _load(self) -> Any:
        from airflow_qianfan.plugins.app import app

        return app


async def _answer_unavailable(scope: Scope, send: Send) -> None:
    if scope["type"] != "http":
        return
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
    text = b"The views of Qianfan cannot be shown. The API server's log says why."
    await send({"type": "http.response.start", "status": 503, "headers": headers})
    await send({"type": "http.response.body", "body": text})


class QianfanPlugin(AirflowPlugin):
    """A tab on task instances, and a page in the navigation.

    Addresses are relative to Airflow's ``<base>``, so that they hold behind a prefix, too.
    """

    name = "qianfan"
    fastapi_apps = [{"app": DeferredApp(), "url_prefix": f"/{PREFIX}", "name": "Qianfan"}]
    external_views = [
        {
            "name": "Qianfan",
            "destination": "task_instance",
            "url_route": "qianfan",
            "href": f"{PREFIX}/task?dag_id={{DAG_ID}}&run_id={{RUN_ID}}&task_id={{TASK_ID}}"
            "&map_index={MAP_INDEX}",
            "icon": f"{PREFIX}/static/icon.svg",
        },
        {
            "name": "Qianfan",
            "destination": "nav",
            "url_route": "qianfan-overview",
            "href": f"{PREFIX}/page",
            "icon": f"{PREFIX}/static/icon.svg",
            "nav_top_level": True,
        },
    ]
