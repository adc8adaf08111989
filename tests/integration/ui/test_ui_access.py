"""Who may see what: each route asks, and none tells a secret."""

from __future__ import annotations

import pytest

PAGES = ["task", "page", "static/style.css", "static/js/task.js", "static/vendor/uPlot.esm.js"]
OF_A_CONNECTION = [
    "api/connections/qianfan_default/trainings",
    "api/connections/qianfan_default/trainings/details?group=job-1",
    "api/connections/qianfan_default/compare?training=task-1&training=task-2",
    "api/connections/qianfan_default/models",
    "api/connections/qianfan_default/services",
    "api/connections/qianfan_default/batch-inferences",
    "api/connections/qianfan_default/imports",
]
OF_A_DAG = [f"{path}?dag_id=nightly&run_id=manual&task_id=train" for path in ("api/task", "visualdl")]
ALL = [*PAGES, "api/connections", *OF_A_DAG, *OF_A_CONNECTION]


def test_no_route_is_left_out():
    from airflow_qianfan.plugins.app import app

    routes = {route.path for route in app.routes}
    assert routes == {
        "/task",
        "/page",
        "/static/{path:path}",
        "/api/task",
        "/visualdl",
        "/api/connections",
        "/api/connections/{connection_id}/compare",
        "/api/connections/{connection_id}/{kind}",
        "/api/connections/{connection_id}/{kind}/details",
    }
    assert {method for route in app.routes for method in route.methods} == {"GET"}, "it only reads"


@pytest.mark.parametrize("path", ALL)
def test_without_a_token_nothing_is_shown(ui, emulator, path):
    answer = ui.client.get(f"/qianfan/{path}")
    assert answer.status_code == 401
    assert emulator.journal == []


@pytest.mark.parametrize("path", ALL)
def test_a_wrong_token_shows_nothing(ui, emulator, path):
    token = ui.token("admin")
    forged = f"{token[:-8]}{'A' * 8}"
    assert ui.client.get(f"/qianfan/{path}", headers={"Authorization": f"Bearer {forged}"}).status_code == 403
    ui.client.cookies.set("_token", forged)
    assert ui.client.get(f"/qianfan/{path}").status_code in (401, 403)
    assert emulator.journal == []


@pytest.mark.parametrize("path", OF_A_CONNECTION)
def test_who_may_not_read_connections_sees_no_list(ui, emulator, path):
    assert ui.get(path, role="viewer").status_code == 403
    assert emulator.journal == []


def test_who_may_not_read_connections_is_told_of_none(ui, emulator):
    assert ui.get("api/connections", role="viewer").json() == {"connections": []}
    assert ui.read("api/connections")["connections"] == ["qianfan_default"]


@pytest.mark.parametrize("path", OF_A_DAG)
def test_who_may_not_read_the_dag_sees_no_task(ui, emulator, path):
    assert ui.get(path, role=None).status_code == 403
    assert ui.get(path, role="viewer").status_code == 404, "may, but there is none"


@pytest.mark.parametrize("path", PAGES)
def test_the_token_may_come_as_cookie_or_header(ui, emulator, path):
    assert ui.get(path).status_code == 200
    ui.client.cookies.set("_token", ui.token("admin"))
    assert ui.client.get(f"/qianfan/{path}").status_code == 200


@pytest.mark.parametrize("path", ALL)
def test_answers_forbid_scripts_from_elsewhere(ui, emulator, path):
    for answer in (ui.get(path), ui.client.get(f"/qianfan/{path}")):
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert "script-src 'self';" in policy
        assert answer.headers["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["task", "page"])
def test_pages_hold_no_script_and_no_absolute_address(ui, emulator, name):
    text = ui.get(name).text
    assert "<script>" not in text
    assert "onload" not in text
    assert 'src="/' not in text
    assert 'href="/' not in text
    assert "//" not in text


def test_files_outside_the_folder_are_not_served(ui, emulator):
    for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "js/../../app.py"):
        assert ui.get(f"static/{path}").status_code == 404


def test_no_answer_holds_a_credential(ui, emulator, service):
    service.task()
    answers = [ui.get(path).text for path in ALL]
    emulator.fail_next("*", kind="error", status=403, code="AccessDenied", count=20)
    answers += [ui.get(path).text for path in ALL]
    assert emulator.secret_key not in "".join(answers)
    assert emulator.access_key not in "".join(answers)
