"""The views in Airflow's UI, as a person uses them."""

from __future__ import annotations

import re

import port_for
from nightly_runs import DAG_ID, begin, finish

from local_stack.waiting import wait_for


def test_the_walk_from_a_new_connection_to_two_trainings_that_are_compared(airflow, qianfan, runs, look):
    from playwright.sync_api import expect

    viewer = look(height=1000)
    viewer.add_connection("from_the_form", qianfan, secret_key=qianfan.secret_key)
    tested = airflow.command("connections", "test", "from_the_form")
    assert "Connection success!" in tested.stdout, tested.stdout + tested.stderr

    run_id = begin(airflow, qianfan, epoch=4, rate=0.0002, connection="from_the_form")
    frame = viewer.tab(run_id)
    bar = frame.get_by_role("progressbar")
    expect(frame.locator(".badge.active").first).to_contain_text("Running")

    # It goes on without anybody touching the page.
    first = int(bar.get_attribute("aria-valuenow"))
    expect(bar).not_to_have_attribute("aria-valuenow", str(first))
    assert int(bar.get_attribute("aria-valuenow")) > first
    expect(frame.get_by_text("Estimated end")).to_be_visible()
    viewer.picture("tab-running")

    finish(airflow, run_id)
    expect(frame.get_by_role("img", name="checkpoints from step")).to_be_visible()
    expect(bar).to_have_attribute("aria-valuenow", "100")
    expect(frame.locator(".tiles")).to_contain_text("amv-")
    metrics = frame.get_by_role("region", name="Metrics")
    expect(metrics.locator("thead th").nth(len(runs) + 1)).to_be_visible()
    expect(metrics).to_contain_text("run before")
    expect(frame.locator("canvas")).to_be_visible()

    # The other tasks of the chain are one click away.
    frame.get_by_role("link", name="publish", exact=True).click()
    viewer.page.wait_for_url("**/tasks/publish/plugin/qianfan")
    expect(viewer.page.frame_locator("iframe[title=Qianfan]").get_by_text("Model version · ")).to_be_visible()

    frame = viewer.overview()
    expect(frame.locator("tbody tr").first).to_contain_text("Done")
    expect(frame.locator("tbody tr").first.get_by_role("link", name=DAG_ID, exact=True)).to_be_visible()
    for row in (0, 1):
        frame.get_by_role("checkbox").nth(row).check()
    frame.get_by_role("button", name="Compare 2").click()
    expect(frame.get_by_role("heading", name="2 trainings")).to_be_visible()
    differing = frame.locator("tr.differs")
    expect(differing).to_have_count(2)
    expect(differing.nth(0)).to_contain_text("epoch")
    expect(differing.nth(0)).to_contain_text("differs")
    expect(frame.locator(".legend li")).to_have_count(2)
    expect(frame.locator("canvas")).to_be_visible()

    # What a person reads in the log; the checkpoints are folded.
    viewer.page.set_viewport_size({"width": 1560, "height": 1000})
    viewer.page.goto(f"{viewer.url}/dags/{DAG_ID}/runs/{run_id}/tasks/train")
    expect(viewer.page.get_by_text("Best checkpoint: step")).to_be_visible()
    expect(viewer.page.get_by_text("█").first).to_be_visible()
    group, table = (
        viewer.page.get_by_text(re.compile(one)) for one in (r"\d+ checkpoints", "Step +Perplexity")
    )
    expect(group).to_be_visible()
    expect(table).to_have_count(0)
    viewer.picture("log", viewer.page.get_by_test_id("virtual-scroll-container"))
    group.click()
    expect(table).to_be_visible()
    viewer.page.set_viewport_size({"width": 1280, "height": 1000})

    # The links of a task, on its own page in Airflow.
    viewer.page.goto(f"{viewer.url}/dags/{DAG_ID}/runs/{run_id}/tasks/train/details")
    log = viewer.page.get_by_role("link", name="Training log in Qianfan")
    expect(log).to_have_attribute("href", re.compile(f"^{qianfan.endpoint}/qianfan/"))
    with viewer.page.expect_navigation(url=f"{qianfan.endpoint}/qianfan/visualdl/**"):
        viewer.page.get_by_role("link", name="VisualDL").click()
    viewer.page.go_back()
    viewer.page.get_by_role("link", name="Qianfan", exact=True).last.click()
    viewer.page.wait_for_url("**/tasks/train/plugin/qianfan")

    frame = viewer.overview()
    for row in (0, 1):
        frame.get_by_role("checkbox").nth(row).check()
    frame.get_by_role("button", name="Compare 2").click()
    # Airflow's frame forbids what both links do; they are followed all the same.
    with viewer.page.context.expect_page() as opened:
        frame.get_by_role("link", name="Console").first.click()
    assert opened.value.url.startswith(qianfan.endpoint)
    frame.get_by_role("link", name=DAG_ID, exact=True).first.click()
    viewer.page.wait_for_url(f"**/dags/{DAG_ID}/runs/**")
    assert viewer.troubles == []


def test_a_connection_with_a_wrong_key_is_told_what_is_wrong(airflow, qianfan, look):
    viewer = look()
    viewer.add_connection("with_a_wrong_key", qianfan, secret_key="0" * 32)
    tested = airflow.command("connections", "test", "with_a_wrong_key")
    assert tested.returncode != 0
    assert "SignatureDoesNotMatch" in tested.stdout + tested.stderr
    assert viewer.troubles == []


def test_a_task_of_others_says_in_one_sentence_that_there_is_nothing(runs, look):
    from playwright.sync_api import expect

    viewer = look()
    frame = viewer.tab(runs[0], "done")
    expect(frame.get_by_text("Nothing to see here")).to_be_visible()
    expect(frame.locator(".card:visible")).to_have_count(0)


def test_what_the_service_says_is_shown_as_text(runs, look, hostile):
    from playwright.sync_api import expect

    viewer = look()
    frame = viewer.overview()
    frame.get_by_label("Search").fill(hostile)
    expect(frame.locator("tbody tr")).to_have_count(1)
    expect(frame.locator("tbody tr")).to_contain_text(hostile)
    expect(frame.locator("tbody script, tbody img")).to_have_count(0)
    assert viewer.troubles == []


def test_search_and_state_filter_the_list(runs, look, hostile):
    from playwright.sync_api import expect

    page = look().view("page")
    expect(page.locator("tbody tr", has_text=hostile)).to_be_visible()
    page.get_by_label("Search").fill("nightly")
    # Those of the DAG, and not the one of another name.
    expect(page.locator("tbody tr", has_text=hostile)).to_have_count(0)
    expect(page.locator("tbody tr", has_text="nightly").nth(len(runs) - 1)).to_be_visible()
    page.get_by_label("Search").fill("no such thing")
    expect(page.get_by_text("Nothing fits.")).to_be_visible()
    page.get_by_label("Search").fill("")
    page.get_by_label("State").select_option("active")
    expect(page.locator("tbody tr", has_text="Done")).to_have_count(0)
    expect(page.locator("tbody tr", has_text=hostile)).to_be_visible()


def test_tabs_are_chosen_with_the_keyboard(runs, look):
    from playwright.sync_api import expect

    page = look().view("page")
    page.get_by_role("tab", name="Trainings").focus()
    page.keyboard.press("ArrowRight")
    expect(page.get_by_role("tab", name="Model versions")).to_be_focused()
    expect(page.locator("tbody tr").first).to_contain_text("Ready")


def test_it_refreshes_itself_and_stops_while_nobody_sees_it(airflow, qianfan, look):
    viewer = look()
    run_id = begin(airflow, qianfan)
    page = viewer.page
    asked = []
    page.on("request", lambda request: "/api/task" in request.url and asked.append(request.url))
    page.clock.install()
    viewer.view("task", dag_id=DAG_ID, run_id=run_id, task_id="train")

    with page.expect_response("**/api/task*"):
        page.clock.fast_forward(4000)

    set_hidden = """hidden => {
        Object.defineProperty(document, "hidden", { value: hidden, configurable: true });
        document.dispatchEvent(new Event("visibilitychange"));
    }"""
    wait_for(lambda: page.evaluate("document.querySelector('main').ariaBusy") == "false", what="it is shown")
    page.evaluate(set_hidden, True)
    before = len(asked)
    page.clock.fast_forward(600_000)
    page.evaluate("() => fetch('static/icon.svg').then((answer) => answer.text())")
    assert len(asked) == before, "nobody sees it"

    with page.expect_response("**/api/task*"):
        page.evaluate(set_hidden, False)
    finish(airflow, run_id)


def test_it_works_behind_a_prefix(airflow, runs, look):
    from playwright.sync_api import expect

    port = port_for.select_random()
    url = f"http://127.0.0.1:{port}/team/airflow"
    env = {"AIRFLOW__API__PORT": str(port), "AIRFLOW__API__BASE_URL": url}
    airflow.start_component("api-server", env=env)

    viewer = look(url=url)

    def answers():
        try:
            return viewer.page.request.get(f"{url}/api/v2/monitor/health").ok
        except Exception:
            return False

    wait_for(answers, what="the API server behind a prefix answers")
    frame = viewer.tab(runs[1])
    expect(frame.locator("canvas")).to_be_visible()
    frame.get_by_role("link", name="publish", exact=True).click()
    viewer.page.wait_for_url(f"{url}/dags/{DAG_ID}/runs/*/tasks/publish/plugin/qianfan")
    frame = viewer.overview()
    expect(frame.locator("tbody tr").first).to_be_visible()
    frame.get_by_role("link", name=DAG_ID, exact=True).first.click()
    viewer.page.wait_for_url(f"{url}/dags/{DAG_ID}/runs/**")
    assert viewer.troubles == []
