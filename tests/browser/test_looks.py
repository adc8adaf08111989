"""How the views look: on a desktop and a phone, light and dark, in English and Chinese, and to axe."""

from __future__ import annotations

import re

import pytest
from nightly_runs import DAG_ID, begin, finish

PHONE, DESKTOP = 390, 1280
KINDS = ("models", "services", "batch-inferences", "imports")
THEMES = pytest.mark.parametrize("theme", ["light", "dark"])


def open_tab(viewer, run_id):
    return viewer.view("task", dag_id=DAG_ID, run_id=run_id, task_id="train", map_index="{MAP_INDEX}")


def select(page, count):
    """Compare the newest trainings that are done."""
    from playwright.sync_api import expect

    done = page.locator("tbody tr", has_text="Done")
    for row in range(count):
        done.nth(row).get_by_role("checkbox").check()
    page.get_by_role("button", name=f"Compare {count}").click()
    expect(page.get_by_role("heading", name=f"{count} trainings")).to_be_visible()
    expect(page.locator("canvas")).to_be_visible()


# First: the pictures show what a person has who has just begun, and nothing of other tests.
@THEMES
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_pictures(runs, look, theme, width):
    from playwright.sync_api import expect

    ending = f"{'' if width == DESKTOP else 'phone-'}{theme}"
    viewer = look(theme=theme, width=width, height=900 if width == DESKTOP else 844)
    # Airflow's page of a task is wider than a phone, and leaves the tab no room there.
    tab = viewer.tab(runs[-1]) if width == DESKTOP else open_tab(viewer, runs[-1])
    expect(tab.locator("canvas")).to_be_visible()
    expect(tab.get_by_role("region", name="Metrics").locator("thead th")).to_have_count(len(runs) + 1)
    viewer.picture(f"tab-{ending}")

    frame = viewer.overview()
    rows = frame.locator("tbody tr", has_text="Done")
    expect(rows).to_have_count(len(runs))
    for run_id in runs:
        expect(frame.locator(".run", has_text=run_id)).to_have_count(1)
    viewer.picture(f"page-{ending}")

    select(frame, 3)
    expect(frame.locator(".legend li")).to_contain_text([f"{letter} {DAG_ID}" for letter in "ABC"])
    expect(frame.get_by_role("region", name="Metrics").locator("thead th")).to_have_count(4)
    differing = frame.locator("tr.differs")
    expect(differing).to_have_count(2)
    expect(differing.nth(0).locator("td")).to_have_count(3)
    if theme == "light":
        viewer.picture(f"compare-{ending}")
    assert viewer.troubles == []


@THEMES
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_axe_finds_nothing_and_nothing_is_wider_than_the_screen(runs, others, look, hostile, theme, width):
    from playwright.sync_api import expect

    viewer = look(theme=theme, width=width, height=844)
    page = open_tab(viewer, runs[1])
    expect(page.locator("canvas")).to_be_visible()
    page.locator("summary").click()
    assert page.evaluate("document.documentElement.dataset.theme") == theme
    viewer.check_with_axe("tab")

    page = viewer.view("page")
    expect(page.locator("tbody tr", has_text="Done").nth(1)).to_be_visible()
    viewer.check_with_axe("page")
    select(page, 2)
    viewer.check_with_axe("compare")

    for kind in KINDS:
        page = viewer.overview_of(kind)
        expect(page.locator("tbody .badge").first).to_be_visible()
        viewer.check_with_axe(kind)
    assert viewer.troubles == []


@THEMES
def test_axe_finds_nothing_while_a_training_goes_on(airflow, qianfan, look, theme):
    from playwright.sync_api import expect

    viewer = look(theme=theme)
    run_id = begin(airflow, qianfan)
    page = open_tab(viewer, run_id)
    expect(page.locator(".badge.active").first).to_be_visible()
    viewer.check_with_axe("running tab")
    page = viewer.view("page")
    expect(page.locator("tbody .badge.active").first).to_be_visible()
    viewer.check_with_axe("page with a running training")
    finish(airflow, run_id)
    assert viewer.troubles == []


def test_chinese_by_the_language_of_the_browser(runs, others, look):
    from playwright.sync_api import expect

    viewer = look(locale="zh-CN", height=1000)
    frame = viewer.tab(runs[1])
    expect(frame.get_by_role("heading", name="损失与困惑度")).to_be_visible()
    expect(frame.locator("html")).to_have_attribute("lang", "zh-CN")

    page = open_tab(viewer, runs[1])
    expect(page.get_by_role("heading", name="超参数")).to_be_visible()
    viewer.check_with_axe("tab in Chinese")
    page = viewer.view("page")
    expect(page.get_by_role("tab", name="模型版本")).to_be_visible()
    expect(page.locator("tbody .badge").first).to_be_visible()
    viewer.check_with_axe("page in Chinese")
    page = viewer.overview_of("services")
    expect(page.get_by_role("columnheader", name="已存在")).to_be_visible()
    viewer.check_with_axe("services in Chinese")
    assert viewer.troubles == []


def test_each_kind_is_opened(runs, others, look):
    from playwright.sync_api import expect

    viewer = look()
    frame = viewer.overview()
    frame.get_by_role("tab", name="Model versions").click()
    published = frame.locator("tbody tr", has_text="task-")
    expect(published.nth(len(runs) - 1)).to_be_visible()
    expect(published.first).to_contain_text("Ready")
    expect(published.first.get_by_role("link", name=DAG_ID, exact=True)).to_be_visible()
    for name, kind in (
        ("Services", "services"),
        ("Batch inference", "batch-inferences"),
        ("Imports", "imports"),
    ):
        frame.get_by_role("tab", name=name).click()
        row = frame.locator("tbody tr", has_text=others[kind])
        expect(row.locator(".badge")).to_be_visible()
        expect(row.locator("td").nth(2 if kind == "batch-inferences" else 1)).to_contain_text(
            re.compile(r", \d{4}, \d+:\d\d")
        )
    expect(frame.get_by_role("columnheader", name="Publication")).to_be_visible()
    assert viewer.troubles == []


def test_a_tab_follows_the_theme_that_a_person_chooses_in_airflow(runs, look):
    from playwright.sync_api import expect

    # The system is light, and Airflow is not: only the page around the tab tells.
    viewer = look(theme="dark", system="light")
    frame, page = viewer.tab(runs[1]), viewer.page
    expect(frame.locator("canvas")).to_be_visible()
    background = "element => getComputedStyle(element).backgroundColor"
    seen = {}
    for theme, choice in (("dark", None), ("light", "Light Mode"), ("dark", "Dark Mode")):
        if choice:
            page.get_by_role("button", name="User").click()
            page.get_by_role("menuitem", name="Appearance").click()
            page.get_by_role("menuitemradio", name=choice).click()
        expect(frame.locator("html")).to_have_attribute("data-theme", theme)
        around = page.locator("html").evaluate(background)
        expect(frame.locator("body")).to_have_css("background-color", around)
        seen[theme] = around
        expect(frame.locator("canvas")).to_be_visible()
    assert seen["light"] != seen["dark"]
    assert viewer.troubles == []


@pytest.mark.parametrize("is_framed", [True, False], ids=["in_airflow", "alone"])
def test_a_click_copies_an_id(runs, look, is_framed):
    from playwright.sync_api import expect

    viewer = look()
    view = viewer.tab(runs[1]) if is_framed else open_tab(viewer, runs[1])
    button = view.get_by_role("button", name="Copy task-")
    training_id = button.locator("code").inner_text()
    viewer.page.evaluate("navigator.clipboard.writeText('something else')")
    button.click()
    expect(button).to_contain_text("Copied")
    assert training_id.startswith("task-")
    assert viewer.page.evaluate("navigator.clipboard.readText()") == training_id
    assert viewer.troubles == []
