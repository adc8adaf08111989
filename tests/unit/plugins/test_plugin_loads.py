"""What Airflow loads in all of its processes, and what happens where the views cannot be shown."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points
from importlib.resources import files

import httpx
import pytest
from airflow.plugins_manager import AirflowPlugin

from airflow_qianfan.plugins.qianfan import DeferredApp, QianfanPlugin

STATIC = files("airflow_qianfan.plugins") / "static"


def test_entry_point_leads_to_the_plugin():
    (found,) = (one for one in entry_points(group="airflow.plugins") if one.name == "qianfan")
    assert found.load() is QianfanPlugin
    assert issubclass(QianfanPlugin, AirflowPlugin)


def test_loading_it_loads_nothing_that_only_the_views_need():
    code = "import airflow_qianfan.plugins.qianfan, sys; print(*sys.modules)"
    shown = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )
    loaded = shown.stdout.split()
    ours = {name for name in loaded if name.startswith("airflow_qianfan")}
    ours -= {"airflow_qianfan.get_provider_info"}  # Airflow reads it whenever it starts
    assert ours == {"airflow_qianfan", "airflow_qianfan.plugins", "airflow_qianfan.plugins.qianfan"}
    assert "fastapi" not in loaded


def test_addresses_are_relative_and_routes_differ():
    views = QianfanPlugin.external_views
    assert {view["destination"] for view in views} == {"task_instance", "nav"}
    assert len({view["url_route"] for view in views}) == len(views)
    for view in views:
        assert not view["href"].startswith(("/", "http"))
        assert not view["icon"].startswith(("/", "http"))


async def test_views_that_cannot_be_loaded_are_answered_with_503(monkeypatch, caplog):
    app = DeferredApp()
    monkeypatch.setitem(sys.modules, "airflow_qianfan.plugins.app", None)
    transport = httpx.ASGITransport(app=app)
    async with httpx.AsyncClient(transport=transport, base_url="http://airflow") as client:
        answer = await client.get("/page")
    assert answer.status_code == 503
    assert "cannot be shown" in answer.text
    assert "The views of Qianfan cannot be shown" in caplog.text


@pytest.mark.parametrize("page", ["task.html", "page.html"])
def test_pages_name_files_that_are_there(page):
    names = re.findall(r'(?:href|src)="([^"]+)"', (STATIC / page).read_text())
    assert len(names) > 5
    assert [name for name in names if not (STATIC.parent / name).is_file()] == []


def test_modules_import_files_that_are_there():
    for path in (STATIC / "js").iterdir():
        for name in re.findall(r'from "([^"]+)"', path.read_text()):
            assert (STATIC / "js" / name).resolve().is_file(), f"{path.name} imports {name}"


def test_chart_library_comes_with_its_licence():
    assert "MIT License" in (STATIC / "vendor" / "uPlot-LICENSE.txt").read_text()
