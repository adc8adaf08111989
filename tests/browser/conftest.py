"""A real browser, a real Airflow and the emulator."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from nightly_runs import DAG_ID, TASK_SECONDS, begin, finish

from local_stack.airflow import USER, LocalAirflow
from local_stack.qianfan import CONNECTION_ID, LocalQianfan
from local_stack.waiting import PATIENCE


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.browser)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Any]:
    """A browser; without one the tests say what is missing."""
    try:
        from playwright.sync_api import expect, sync_playwright
    except ImportError:
        pytest.skip("NOT TESTED: Playwright is not installed; `make test-browser` installs it")
    path = shutil.which("chromium") or shutil.which("google-chrome")
    if path is None:
        pytest.skip("NOT TESTED: there is no browser; install Debian's package chromium")
    # Only against hanging, as everywhere.
    expect.set_options(timeout=PATIENCE * 1000)
    with sync_playwright() as playwright:
        # Its own sandbox needs more than a container may give.
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def qianfan(chromium: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalQianfan]:
    """A Qianfan whose trainings take long enough to look at them."""
    folder = tmp_path_factory.mktemp("emulator")
    with LocalQianfan(folder, task_seconds=TASK_SECONDS, model_seconds=2) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def airflow(tmp_path_factory: pytest.TempPathFactory, qianfan: LocalQianfan) -> Iterator[LocalAirflow]:
    env = {
        "AIRFLOW__QIANFAN__POLL_INTERVAL": "1",
        "AIRFLOW__QIANFAN__MAX_POLL_INTERVAL": "1",
        "AIRFLOW__WORKERS__EXECUTION_API_TIMEOUT": "60",
        "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
    }
    dags = Path(__file__).parent / "dags"
    with LocalAirflow(tmp_path_factory.mktemp("airflow"), dags_folder=dags, env=env) as airflow:
        airflow.wait_ready(DAG_ID)
        airflow.api.add_connection(CONNECTION_ID, qianfan.connection)
        airflow.api.unpause(DAG_ID)
        yield airflow


@dataclass
class Viewer:
    """A person with a browser, who is logged in.

    :param airflow: what is looked at.
    :param page: the browser's page.
    :param troubles: what the browser has complained about.
    """

    airflow: LocalAirflow
    page: Any
    url: str
    troubles: list[str] = field(default_factory=list)

    def tab(self, run_id: str, task_id: str = "train") -> Any:
        """Open the tab of a task instance in Airflow, and return the frame in it."""
        self.page.goto(f"{self.url}/dags/{DAG_ID}/runs/{run_id}/tasks/{task_id}/plugin/qianfan")
        return self.page.frame_locator("iframe[title=Qianfan]")

    def overview(self) -> Any:
        """Open the page in Airflow by its navigation, and return the frame in it."""
        self.page.goto(f"{self.url}/plugin/qianfan-overview")
        return self.page.frame_locator("iframe[title=Qianfan]")

    def add_connection(self, connection_id: str, qianfan: LocalQianfan, *, secret_key: str) -> None:
        """Fill in Airflow's form for a new connection, and save it."""
        page = self.page
        page.goto(f"{self.url}/connections")
        page.get_by_role("button", name="Add Connection").first.click()
        form = page.get_by_role("dialog")
        form.get_by_label("Connection ID").fill(connection_id)
        form.get_by_role("combobox").first.click()
        page.get_by_role("option", name="Baidu Qianfan").click()
        form.get_by_label("Endpoint").fill(qianfan.endpoint)
        form.get_by_label("Access Key ID").fill(qianfan.access_key)
        form.get_by_label("Secret Access Key").fill(secret_key)
        self.picture("connection")
        form.get_by_role("button", name="Save").click()
        page.get_by_role("row").filter(has_text=connection_id).wait_for()

    def view(self, name: str, fragment: str = "", **query: Any) -> Any:
        """Open a view without Airflow around it, and return the page."""
        self.page.goto(f"{self.url}/qianfan/{name}?{urlencode(query)}#{fragment}")
        self.page.wait_for_selector("main[aria-busy=false]")
        return self.page

    def overview_of(self, kind: str) -> Any:
        """Open a kind of object on the page, without Airflow around it, and return the browser's page."""
        self.page.goto("about:blank")  # another fragment alone opens nothing
        return self.view("page", fragment=f"kind={kind}")

    def check_with_axe(self, what: str) -> None:
        """Fail where axe finds anything, or the view is wider than the screen."""
        from axe_playwright_python.sync_playwright import Axe

        found = Axe().run(self.page).response["violations"]
        told = [(one["id"], [node["html"][:200] for node in one["nodes"]]) for one in found]
        assert told == [], what
        width = self.page.viewport_size["width"]
        assert self.page.evaluate("document.documentElement.scrollWidth") <= width, what

    def picture(self, name: str, part: Any = None) -> None:
        """Keep a picture, where somebody wants to have them; of a part of the page, if given."""
        if folder := os.environ.get("QIANFAN_SCREENSHOTS"):
            Path(folder).mkdir(parents=True, exist_ok=True)
            (part or self.page).screenshot(path=Path(folder) / f"{name}.png")


@pytest.fixture
def look(chromium: Any, airflow: LocalAirflow) -> Iterator[Callable[..., Viewer]]:
    """Let somebody look, who has a screen, a language, and a theme in Airflow and one of the system."""
    with contextlib.ExitStack() as stack:

        def look(
            *,
            width: int = 1280,
            height: int = 900,
            theme: str = "light",
            locale: str = "en-US",
            url: str = "",
            system: str = "",
        ) -> Viewer:
            context = chromium.new_context(
                viewport={"width": width, "height": height},
                color_scheme=system or theme,
                locale=locale,
                permissions=["clipboard-read", "clipboard-write"],
            )
            stack.callback(context.close)
            context.set_default_timeout(PATIENCE * 1000)
            # Airflow's choice, until the person makes another one.
            context.add_init_script(f"try {{ localStorage.theme ??= '{theme}' }} catch {{}}")
            context.add_cookies([{"name": "_token", "value": _token(airflow), "url": url or airflow.url}])
            viewer = Viewer(airflow, context.new_page(), url or airflow.url)
            viewer.page.on("pageerror", lambda error: viewer.troubles.append(str(error)))
            viewer.page.on("dialog", lambda dialog: viewer.troubles.append(f"dialog {dialog.message}"))
            viewer.page.on("console", lambda message: _note(viewer, message))
            return viewer

        yield look


def _note(viewer: Viewer, message: Any) -> None:
    text = message.text
    if message.type == "error" and (
        "Content Security Policy" in text or "/qianfan/" in message.location["url"]
    ):
        viewer.troubles.append(text)


def _token(airflow: LocalAirflow) -> str:
    login = {"username": USER, "password": airflow.password}
    answer = httpx.post(f"{airflow.url}/auth/token", json=login, timeout=60, trust_env=False)
    token: str = answer.raise_for_status().json()["access_token"]
    return token


@pytest.fixture(scope="session")
def runs(airflow: LocalAirflow, qianfan: LocalQianfan) -> list[str]:
    """Three DAG runs that have trained and published, with other hyper-parameters."""
    begun = [
        begin(airflow, qianfan, epoch=epoch, rate=rate)
        for epoch, rate in ((1, 0.0003), (3, 0.0003), (2, 0.0001))
    ]
    return [finish(airflow, run_id) for run_id in begun]


@pytest.fixture(scope="session")
def others(qianfan: LocalQianfan, runs: list[str]) -> dict[str, str]:
    """One object of each kind that the DAG has not made: the name of each, by the kind."""
    from airflow_qianfan.api.actions.batch_inference import CreateBatchInferenceTask
    from airflow_qianfan.api.actions.dataset import CreateDataset, CreateImportTask
    from airflow_qianfan.api.actions.model import DescribeCustomModelSets
    from airflow_qianfan.api.actions.service import CreateService

    with qianfan.client() as client:
        (model_set,) = client.call(DescribeCustomModelSets()).rows
        model_id = model_set.model_ids[0]
        client.call(
            CreateService(
                model_set_id=model_set.model_set_id,
                model_id=model_id,
                name="faq",
                url_suffix="faq",
                resource_config={"region": "bj", "type": "GPU-1-1", "qps": 5},
                billing={"paymentTiming": "Postpaid", "chargeType": "ComputingUnit"},
            )
        )
        files = {"input_bos_uri": "bos:/bucket/in", "output_bos_uri": "bos:/bucket/out"}
        client.call(CreateBatchInferenceTask(name="questions", model_id=model_id, **files))
        made = client.call(
            CreateDataset(dataset_name="answers", data_format="PromptResponse", storage_type="sysStorage")
        )
        client.call(CreateImportTask(version_id=made.version_id, files=["bos:/bucket/a.jsonl"]))
    return {"services": "faq", "batch-inferences": "questions", "imports": "answers"}


@pytest.fixture
def hostile(qianfan: LocalQianfan) -> str:
    """A job and a training whose name and description try to be more than text; returns the name."""
    from airflow_qianfan.api.actions.finetuning import CreateFineTuningJob, CreateFineTuningTask

    name = f"<script>{len(qianfan.journal())}"
    with qianfan.client() as client:
        job = client.call(
            CreateFineTuningJob(
                name=name,
                model="ERNIE-Speed-8K",
                train_mode="SFT",
                description="<img src=x onerror=alert(1)>",
            )
        )
        data = {"sourceType": "Platform", "versions": [{"versionId": "ds-0123456789abcdef"}]}
        client.call(
            CreateFineTuningTask(job_id=job.job_id, hyper_parameter_config={"epoch": 1}, dataset_config=data)
        )
    return name
