"""The labeller's sheets and buttons: a mouse can do what keys do, and the keyboard presses what has the focus."""

import pytest
from labeller_world import Home, drawn, fill, labeller, press, ready, until
from playwright.sync_api import Page

WIDE, NARROW = {"width": 1440, "height": 900}, {"width": 390, "height": 844}
SCROLLED = "() => document.querySelector('.sheet:not([hidden]) .scrolls').scrollTop"


@pytest.mark.slow
@pytest.mark.parametrize("size", [WIDE, NARROW])
def test_choices_of_a_sheet_can_be_clicked(home: Home, page: Page, size: dict[str, int]) -> None:
    fill(home, 30, 0)
    page.set_viewport_size(size)  # type: ignore[arg-type]
    with labeller(home.path) as server:
        page.goto(server.address)
        first = ready(page)
        page.click("#others [data-key=f]")
        page.click("#answers >> text=irony")
        assert page.inner_text("#marks") == "flag: irony"
        page.click("#others [data-key=f]")
        page.click("#answers >> text=leave it")
        page.click("#others [data-key=n]")
        page.fill("#note", "odd")
        page.click("#noting [data-key=Enter]")
        page.click("#classes [data-key='3']")
        page.wait_for_selector(f'body:not([data-thread="{first}"])')
        second = ready(page)
        page.keyboard.press("s")
        page.click("#answers >> text=cannot tell")
        page.wait_for_selector(f'body:not([data-thread="{second}"])')
        page.click("#others [data-key='?']")
        page.click("#help [data-key=Escape]")
        assert page.is_hidden("#help")
    assert [(x.thread_id, x.sentiment_rating, x.flag, x.notes) for x in home.ledger.all()] == [
        (first, 3, "irony", "odd"),
        (second, None, None, "skip: cannot tell"),
    ]


@pytest.mark.slow
def test_space_presses_the_focused_button_once_and_nothing_else(home: Home, page: Page) -> None:
    fill(home, 30, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        threads = [ready(page)]
        page.focus("#classes [data-key='3']")
        for key in ("Space", "Enter"):
            for _ in range(3):  # held down
                page.keyboard.down(key)
            page.keyboard.up(key)
            page.wait_for_selector(f'body:not([data-thread="{threads[-1]}"])')
            threads.append(ready(page))
        page.focus("#others [data-key=f]")
        page.keyboard.press("Space")
        page.keyboard.press("Tab")  # the page behind a sheet cannot be reached
        page.keyboard.press("Space")
        assert page.is_hidden("#ask")
        assert page.inner_text("#marks") == "flag: irony"
        assert page.evaluate("document.activeElement.dataset.key") == "f"
        page.focus("#others [data-key='?']")
        page.keyboard.press("Space")
        assert page.is_visible("#help")
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.all()] == [(threads[0], 3), (threads[1], 3)]


@pytest.mark.slow
def test_a_sheet_that_scrolls_says_so_and_keys_scroll_it(home: Home, page: Page) -> None:
    fill(home, 30, 0)
    with labeller(home.path) as server:
        page.set_viewport_size(NARROW)  # type: ignore[arg-type]
        page.goto(server.address)
        ready(page)
        page.keyboard.press("p")
        page.wait_for_selector("#rows tr")
        assert page.inner_text("#strata .more") == "Scrolls: more to the right →"
        page.keyboard.press("Escape")
        page.keyboard.press("?")
        assert page.inner_text("#help .more") == "Scrolls: more below ↓"
        page.keyboard.press("Space")
        assert page.evaluate(SCROLLED) > 0
        page.keyboard.press("End")
        until(lambda: page.inner_text("#help .more") == "The end. Scroll back for the rest.")
        page.keyboard.press("Escape")
        page.set_viewport_size(WIDE)  # type: ignore[arg-type]
        for sheet, key in (("strata", "p"), ("help", "?"), ("ask", "f")):
            page.keyboard.press(key)
            assert page.inner_text(f"#{sheet} .more") == ""
            page.keyboard.press("Escape")


@pytest.mark.slow
def test_a_label_remembers_whether_the_picture_was_to_be_seen(home: Home, page: Page) -> None:
    threads = fill(home, 12, 0)
    home.add_posts(
        [{"thread_id": 9, "posted_at": "2026-01-01", "op_text_clean": "one", "image_url": "u", "source": "live"}]
    )
    home.add_pictures({thread: drawn(90, 60, (place * 20, 90, 90)) for place, thread in enumerate(threads)})
    expected: dict[int, bool | None] = {}
    with labeller(home.path) as server:
        page.goto(server.address)
        for keys, seen in ((("1",), False), (("b", "1"), True), (("b", "b", "1"), True), (("B", "1"), True)):
            while ready(page) == 9:
                press(page, "2")
            page.wait_for_selector("#frame img")
            page.wait_for_function("document.querySelector('#frame img').naturalWidth > 0")
            expected[ready(page)] = seen
            press(page, *keys)
        while not any(label.thread_id == 9 for label in home.ledger.all()):
            press(page, "2")
    labels = {label.thread_id: label.image_visible for label in home.ledger.all()}
    assert {thread: labels[thread] for thread in expected} == expected
    assert labels[9] is False  # it has a picture, which nobody could show
