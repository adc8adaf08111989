"""Who may see what: each route asks, and none tells a secret."""

from __future__ import annotations

from html.parser import HTMLParser
from urllib.parse import urlencode

import pytest
from rights import name_without

from airflow_qianfan.plugins.reader import forget

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


class _Scripts(HTMLParser):
    """Collects what a browser would run of a page itself."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []
        self._is_inside = False

    def handle_starttag(self, tag, attrs):
        self._is_inside = tag == "script"
        if self._is_inside and not dict(attrs).get("src"):
            self.found.append(self.get_starttag_text())
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.found.append(f"{name}={value}")

    def handle_endtag(self, tag):
        self._is_inside = False

    def handle_data(self, data):
        if self._is_inside and data.strip():
            self.found.append(data)


def inline_scripts(text):
    parser = _Scripts()
    parser.feed(text)
    return parser.found


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
    assert inline_scripts(text) == []
    assert "static/js/" in text
    assert 'src="/' not in text
    assert 'href="/' not in text
    assert "//" not in text


@pytest.mark.parametrize(
    "text",
    [
        "<script>alert(1)</script>",
        '<script type="module">import "./a.js"</script>',
        '<script src="a.js">alert(1)</script>',
        '<body onload="alert(1)">',
        '<a href=" javascript:alert(1)">a</a>',
    ],
)
def test_inline_scripts_are_found_in_whatever_way_they_are_written(text):
    assert inline_scripts(text) != []


def test_files_outside_the_folder_are_not_served(ui, emulator):
    for path in ("../app.py", "%2e%2e/app.py", "..%2fapp.py", "js/../../app.py"):
        assert ui.get(f"static/{path}").status_code == 404


@pytest.fixture
def two_runs(start_emulator, nightly):
    """Return DAG runs of two DAGs by their DAG ids, and the emulator."""
    emulator = start_emulator(task_seconds=0.5, model_seconds=0.1)
    return {dag_id: nightly(dag_id) for dag_id in ("shared", "secret")}, emulator


@pytest.mark.parametrize("missing", [None, "XCOM", "TASK_INSTANCE"])
def test_of_a_dag_whose_tasks_one_may_not_read_the_page_tells_nothing(ui, two_runs, missing):
    runs, _ = two_runs
    user = name_without(("secret", missing))
    queries = {
        dag_id: {"dag_id": dag_id, "run_id": run_id, "task_id": "train"} for dag_id, run_id in runs.items()
    }
    status = {dag_id: ui.get("api/task", user=user, **query).status_code for dag_id, query in queries.items()}
    assert status == {"shared": 200, "secret": 403}

    ids = [ui.task(**query)["object"]["id"] for query in queries.values()]
    path = "api/connections/qianfan_default/compare"
    assert all(one["hyper_parameters"] and one["origin"] for one in ui.read(path, training=ids)["trainings"])
    answer = ui.get(path, user=user, training=ids)
    seen, hidden = answer.json()["trainings"]
    assert (seen["origin"]["dag_id"], seen["hyper_parameters"]["epoch"]) == ("shared", "1")
    assert (hidden["origin"], hidden["hyper_parameters"]) == (None, {})
    # What Qianfan tells belongs to the connection.
    assert hidden["object"]["metrics"]
    assert hidden["object"]["checkpoints"]

    groups = [row["group"] for row in ui.read("api/connections/qianfan_default/trainings")["rows"]]
    listed = ui.get("api/connections/qianfan_default/trainings/details", user=user, group=groups).json()
    origins = {row["id"]: row["origin"] and row["origin"]["dag_id"] for row in listed["rows"]}
    assert origins == {ids[0]: "shared", ids[1]: None}


def test_no_answer_holds_a_credential(ui, two_runs):
    runs, emulator = two_runs
    query = {"dag_id": "shared", "run_id": runs["shared"], "task_id": "train"}
    tab = f"api/task?{urlencode(query)}"
    training_id = ui.task(**query)["object"]["id"]
    compared = f"api/connections/qianfan_default/compare?training={training_id}&training={training_id}"
    asked = [*(path for path in ALL if path not in OF_A_DAG), tab, f"visualdl?{urlencode(query)}", compared]

    def read_all():
        forget()
        answers = {path: ui.get(path) for path in asked}
        told = "".join(answer.text + str(answer.headers) for answer in answers.values())
        assert emulator.secret_key not in told
        assert emulator.access_key not in told
        return answers

    answers = read_all()
    assert answers[tab].json()["object"]["checkpoints"], "there is something to see"
    assert answers[compared].json()["trainings"][0]["hyper_parameters"]
    emulator.fail_next("*", kind="error", status=403, code="AccessDenied", count=50)
    refused = read_all()[tab].json()
    assert "AccessDenied" in refused["problem"]
    assert refused["object"]["checkpoints"], "Airflow remembers them"
