"""The app in a real browser: pages, chart, links, and strangers' text."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import pytest
from app_process import app_server
from app_world import BUSY_HOUR, HOSTILE, HOSTILE_NAME, HOUR, NOW, hour_row
from playwright.sync_api import Browser, Locator, Page, expect
from published_rows import insert_index

from bizcharts_pipeline.core.clock import from_epoch, to_epoch
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

PAGES = {
    "": "Mood of /biz/",
    "moved": "What moved the mood",
    "coins": "Coins",
    "coin?coin=BTC": "BTC",
    "generals": "Generals",
    "copies": "Copies and raids",
    "lab": "Lab",
    "models": "Models",
    "data": "Data",
}
SECONDS = 30_000
FOCUSED = """
(() => {
  const outer = document.activeElement, focused = outer.shadowRoot?.activeElement ?? outer;
  const box = focused.getBoundingClientRect(), style = getComputedStyle(focused);
  return [box.left, box.right, `${style.outlineWidth} ${style.outlineStyle}`];
})()
"""
AXE = (files("axe_playwright_python") / "axe.min.js").read_text(encoding="utf-8")


class App(NamedTuple):
    home: Path
    address: str


@pytest.fixture(scope="module")
def app(filled: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    home = tmp_path_factory.mktemp("browsed") / "home"
    shutil.copytree(filled, home)
    with app_server(home) as address:
        yield App(home, address)


@contextmanager
def watched(page: Page, address: str) -> Iterator[None]:
    """No error in the console, and no request to another origin, meanwhile."""
    said: list[str] = []
    asked: list[str] = []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("request", lambda request: asked.append(request.url))
    page.on("websocket", lambda socket: asked.append(socket.url))
    yield
    origins = (address + "/", address.replace("http", "ws", 1) + "/", "data:", f"blob:{address}/")
    assert [url for url in asked if not url.startswith(origins)] == []
    assert said == []


def open_page(page: Page, app: App, path: str = "") -> None:
    """Go to a page and wait until it is drawn."""
    page.goto(f"{app.address}/{path}")
    title = PAGES.get(path) or PAGES[path.partition("?")[0]]
    expect(page.get_by_role("heading", name=title, exact=True)).to_be_visible(timeout=SECONDS)
    expect(page.get_by_text("Research tool, not financial advice")).to_be_visible(timeout=SECONDS)


def chart(page: Page) -> Locator:
    """The chart, drawn."""
    found = page.locator(".chart[data-ready]")
    expect(found).to_be_visible(timeout=SECONDS)
    return found


def view(page: Page) -> list[float] | None:
    return json.loads(chart(page).get_attribute("data-view") or "null")


def x_of(page: Page, epoch: float) -> tuple[float, float]:
    """Where in the window an hour is drawn."""
    over = page.locator(".main .u-over")
    over.scroll_into_view_if_needed()
    box = over.bounding_box()
    assert box
    start, end = view(page) or json.loads(chart(page).get_attribute("data-full") or "")
    return box["x"] + box["width"] * (epoch - start) / (end - start), box["y"] + box["height"] / 2


def zoom(page: Page, start: float, end: float) -> None:
    """Drag over a part of the chart."""
    (from_x, y), (to_x, _) = x_of(page, start), x_of(page, end)
    page.mouse.move(from_x, y)
    page.mouse.down()
    page.mouse.move((from_x + to_x) / 2, y, steps=3)
    page.mouse.move(to_x, y, steps=3)
    page.mouse.up()
    expect(chart(page)).not_to_have_attribute("data-view", "null")


@pytest.mark.slow
def test_a_link_is_the_first_that_a_server_is_asked_for(filled: Path, page: Page) -> None:
    with app_server(filled) as address:
        open_page(page, App(filled, address), "coins")
        expect(page.get_by_role("link", name="What moved it")).to_be_visible()


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_no_request_leaves_the_server(app: App, page: Page, path: str) -> None:
    with watched(page, app.address):
        open_page(page, app, path)
        if path in ("", "coin?coin=BTC"):
            chart(page)
        page.wait_for_timeout(500)


@pytest.mark.slow
def test_the_pages_lead_to_each_other(app: App, page: Page) -> None:
    with watched(page, app.address):
        open_page(page, app)
        for name in ("Coins", "Lab", "Models", "Data"):
            page.get_by_role("link", name=name).click()
            expect(page.get_by_role("heading", name=name, exact=True)).to_be_visible(timeout=SECONDS)
        page.get_by_role("link", name="Now").click()
        chart(page)


@pytest.mark.slow
def test_a_click_on_an_hour_opens_its_posts_and_the_link_holds_it(app: App, page: Page) -> None:
    with watched(page, app.address):
        open_page(page, app, "?range=1+week")
        page.mouse.click(*x_of(page, to_epoch(BUSY_HOUR)))
        expect(page.get_by_role("heading", name="Posts of 2026-03-10 11:00 UTC")).to_be_visible(timeout=SECONDS)
        expect(page.locator(".post")).to_have_count(len(HOSTILE))
        assert "hour=2026-03-10T11" in page.url
        page.reload()
        expect(page.locator(".post")).to_have_count(len(HOSTILE), timeout=SECONDS)


@pytest.mark.slow
def test_the_zoom_survives_a_click_and_a_refresh_with_new_data(app: App, page: Page) -> None:
    page.clock.install()
    open_page(page, app, "?range=1+month")
    zoom(page, to_epoch(NOW) - 20 * 86_400, to_epoch(NOW) - 10 * 86_400)
    before = view(page)
    assert before
    assert before[1] - before[0] == pytest.approx(10 * 86_400, rel=0.1)
    page.mouse.click(*x_of(page, sum(before) / 2))
    expect(page.get_by_role("heading", name="Posts of")).to_be_visible(timeout=SECONDS)
    ready = int(chart(page).get_attribute("data-ready") or 0)
    with DatabaseFile(app.home / "bizcharts.duckdb", 20).write() as connection:
        insert_index(connection, [hour_row(NOW.replace(minute=0), computed_at=NOW + HOUR / 9, value=41.0)])
    page.clock.fast_forward("01:01")
    expect(page.get_by_alt_text("Fear/Greed gauge: 41 of 100")).to_be_visible(timeout=SECONDS)
    page.wait_for_function(
        "([element, before]) => Number(element.dataset.ready) > before", arg=[chart(page).element_handle(), ready]
    )
    assert view(page) == pytest.approx(before)
    page.locator(".main .u-over").dblclick()
    expect(chart(page)).to_have_attribute("data-view", "null")


@pytest.mark.slow
def test_the_chart_is_used_by_keyboard(app: App, page: Page) -> None:
    open_page(page, app, "?range=1+week")
    chart(page).focus()
    page.keyboard.press("+")
    first = view(page)
    assert first
    page.keyboard.press("ArrowRight")
    second = view(page)
    assert second
    assert second[0] > first[0]
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    third = view(page)
    assert third
    newest = from_epoch(third[1]).replace(minute=0, second=0, microsecond=0)
    expect(chart(page).locator(".main .u-legend")).to_contain_text(f"{newest:%Y-%m-%d %H:%M}")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name=f"Posts of {newest:%Y-%m-%d %H:%M}")).to_be_visible(timeout=SECONDS)
    page.keyboard.press("0")
    expect(chart(page)).to_have_attribute("data-view", "null")
    assert "newest" in (chart(page).get_attribute("aria-label") or "")


@pytest.mark.slow
def test_a_coin_of_the_board_opens_its_page(app: App, page: Page) -> None:
    open_page(page, app, "coins")
    board = page.get_by_test_id("stDataFrame").first
    expect(board).to_be_visible(timeout=SECONDS)
    box = board.bounding_box()
    assert box
    page.mouse.click(box["x"] + 16, box["y"] + 36 + 18)
    expect(page.get_by_role("heading", name="DOGE", exact=True)).to_be_visible(timeout=SECONDS)
    assert "coin=DOGE" in page.url
    chart(page)


@pytest.mark.parametrize("path", [f"?hour={BUSY_HOUR.isoformat()}", "moved", "models", "data", "coin?coin=BTC"])
def test_strangers_text_does_nothing_in_the_browser(app: App, page: Page, path: str) -> None:
    with DatabaseFile(app.home / "bizcharts.duckdb", 20).write() as connection:
        connection.execute(f"UPDATE coin_sentiment SET model_version = '{HOSTILE_NAME}'")
    with watched(page, app.address):
        open_page(page, app, path)
        if "hour" in path:
            expect(page.locator(".post")).to_have_count(len(HOSTILE), timeout=SECONDS)
            hrefs = page.locator(".post a").evaluate_all("links => links.map(link => link.getAttribute('href'))")
            assert {href.rpartition("/")[0] for href in hrefs} == {"https://boards.4chan.org/biz/thread"}
            expect(page.get_by_text("<script>window.attacked = 1</script>").first).to_be_visible()
            assert page.locator(".post .katex, .post img, .post iframe, .post [data-testid]").count() == 0
        assert page.evaluate("window.attacked") is None
        assert page.locator(".katex, iframe, img[src*=evil], a[href*=evil], a[href^=javascript]").count() == 0
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@pytest.mark.slow
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("path", PAGES)
def test_on_a_telephone_each_page_fits_and_axe_finds_no_fault(
    app: App, browser: Browser, path: str, theme: str
) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844}, color_scheme=theme)  # type: ignore[arg-type]
    page = context.new_page()
    try:
        open_page(page, app, path)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        if path in ("", "coin?coin=BTC"):
            chart(page)
        page.wait_for_timeout(500)  # what is faded in has its colour
        page.evaluate(AXE)
        faults = page.evaluate("axe.run()")["violations"]
        assert [(each["impact"], each["id"], each["nodes"][0]["html"]) for each in faults] == []
    finally:
        context.close()


@pytest.mark.slow
def test_by_keyboard_on_a_telephone_tab_stops_only_at_what_is_seen_and_marks_it(app: App, browser: Browser) -> None:
    context = browser.new_context(viewport={"width": 390, "height": 844})
    page = context.new_page()
    try:
        open_page(page, app)
        chart(page)
        for _ in range(9):
            page.keyboard.press("Tab")
            left, right, outline = page.evaluate(FOCUSED)
            assert 0 <= left < right <= 390
            assert outline == "2px solid"
    finally:
        context.close()


def test_times_are_said_in_the_viewers_zone_too(app: App, browser: Browser) -> None:
    context = browser.new_context(timezone_id="Asia/Tokyo")
    page = context.new_page()
    try:
        open_page(page, app)
        expect(page.get_by_text("2026-03-10 13:00 UTC (22:00 Asia/Tokyo)")).to_be_visible(timeout=SECONDS)
    finally:
        context.close()
