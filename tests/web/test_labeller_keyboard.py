import sqlite3
from contextlib import closing
from datetime import timedelta

import pytest
from labeller_world import START, Home, drawn, fill, held, labeller, press, ready, until
from playwright.sync_api import Page

from bizcharts_pipeline.core.clock import utc_now

SHOWN = """() => {
    window.shown = [Number(document.body.dataset.thread)];
    new MutationObserver(() => shown.push(Number(document.body.dataset.thread)))
        .observe(document.body, { attributes: true, attributeFilter: ["data-thread"] });
}"""
TYPED = """(keys) => keys.forEach((key) => document.dispatchEvent(new KeyboardEvent("keydown", { key })))"""
CUT = """() => {
    const box = document.querySelector("#post footer").getBoundingClientRect();
    return [...document.querySelectorAll("#marks span")].map((mark) => [mark.textContent,
        mark.scrollWidth > mark.clientWidth || mark.getBoundingClientRect().right > box.right]);
}"""


def at_rest(page: Page, left: int) -> None:
    """Wait until every key has had its turn: so many posts are left then."""
    page.wait_for_selector(f'body[data-state="ready"]:has(#left:text-is("{left}"))')


@pytest.mark.slow
def test_fifty_posts_by_keyboard_alone_are_fifty_rows_through_undo_reload_and_kill(home: Home, page: Page) -> None:
    threads = fill(home, 400, 30)
    expected: list[tuple[int, int | None, str | None, str | None]] = []
    with labeller(home.path) as server:
        page.goto(server.address)
        for number in range(25):
            thread = ready(page)
            expected.append((thread, number % 3 + 1, None, None))
            press(page, str(number % 3 + 1))
            if number == 10:
                page.reload()
        for _ in range(3):
            assert press(page, "u") == expected.pop()[0]
    with labeller(home.path) as server:
        page.goto(server.address)
        for _ in range(4):  # also what was labelled before the server was killed
            assert press(page, "u") == expected.pop()[0]
        assert "was" in page.inner_text("#marks")
        while len(expected) < 46:
            thread = ready(page)
            expected.append((thread, 3, None, None))
            press(page, "3")
        for keys, rating, flag, notes in (
            (("0",), None, None, None),
            (("s", "c"), None, None, "skip: cannot tell"),
            (("f", "i", "1"), 1, "irony", None),
            (("n", *"odd", "Enter", "s", "o"), None, "not crypto", "odd"),
        ):
            expected.append((ready(page), rating, flag, notes))
            press(page, *keys)
    standing = home.ledger.standing()
    assert [(x.thread_id, x.sentiment_rating, x.flag, x.notes) for x in standing] == expected
    assert len(home.ledger.all()) == 50 + 7
    assert len({x.thread_id for x in standing}) == 50
    with home.database.read() as connection:
        rows = connection.execute("SELECT thread_id, subject, op_text_clean, image_url, posted_at FROM thread_ops")
        posts = {thread: rest for thread, *rest in rows.fetchall()}
    assert set(posts) == set(threads)
    for label in standing:
        seen = [label.subject_snapshot, label.text_snapshot, label.image_url_snapshot, label.posted_at]
        assert seen == posts[label.thread_id]
        assert (label.labeler_id, label.session, label.stratum, label.origin) == ("ann", "test", "filter", "labeller")
        assert label.seconds is not None
        assert 0 < label.seconds < 60
        assert label.skipped == (label.sentiment_rating is None)
        assert abs(label.labeled_at - utc_now()) < timedelta(minutes=5)
        assert label.suggestion is None


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="labeller", expected="no label lost; the post that was not saved is offered again")
def test_a_kill_between_keys_loses_nothing_and_the_post_that_was_not_saved_stays(home: Home, page: Page) -> None:
    fill(home, 60, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        first = ready(page)
        second = press(page, "1")
    page.keyboard.press("3")
    page.wait_for_selector("#message.error")
    assert "Not saved" in page.inner_text("#message")
    assert ready(page) == second
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.all()] == [(first, 1)]
    with labeller(home.path) as server:
        page.goto(server.address)
        assert ready(page) == second
        press(page, "3")
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.all()] == [(first, 1), (second, 3)]


def test_a_key_that_is_held_down_labels_one_post_and_one_pressed_twice_two(home: Home, page: Page) -> None:
    threads = fill(home, 60, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        for _ in range(20):
            page.keyboard.down("2")
        page.keyboard.up("2")
        page.keyboard.press("2")
        page.keyboard.press("2")
        at_rest(page, len(threads) - 3)
    assert home.ledger.count() == 3


@pytest.mark.slow
def test_keys_pressed_blindly_are_as_many_rows_in_order(home: Home, page: Page) -> None:
    fill(home, 200, 20)
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        page.evaluate(SHOWN)
        for number in range(50):
            page.keyboard.press(str(number % 3 + 1))
            page.wait_for_timeout(20 if number < 35 else 0)
        at_rest(page, 150)
        shown = page.evaluate("window.shown")
        labels = home.ledger.all()
        assert [(x.thread_id, x.sentiment_rating) for x in labels] == [(shown[n], n % 3 + 1) for n in range(50)]
        for _ in range(20):
            page.keyboard.press("u")
        page.keyboard.press("0")
        at_rest(page, 169)
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.standing()] == [
        *((x.thread_id, x.sentiment_rating) for x in labels[:30]),
        (labels[30].thread_id, None),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("awaited", ["post", "answer"])
def test_who_presses_as_soon_as_the_last_key_shows_loses_none(home: Home, page: Page, awaited: str) -> None:
    fill(home, 100, 0)
    expected = []

    def pressed(key: str, path: str = "labels") -> int:
        thread = int(page.get_attribute("body", "data-thread") or 0)
        if awaited == "answer":
            with page.expect_response(f"**/{path}"):
                page.keyboard.press(key)
        else:
            page.keyboard.press(key)
        page.wait_for_selector(f'body:not([data-thread="{thread}"])')
        return thread

    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        for number in range(20):
            expected.append((pressed(str(number % 3 + 1)), number % 3 + 1))
            if number % 5 == 4:
                pressed("u", "undo")
                expected.pop()
                expected.append((pressed("3"), 3))
        standing = home.ledger.standing()
    assert [(x.thread_id, x.sentiment_rating) for x in standing] == expected
    assert len(home.ledger.all()) == 24


@pytest.mark.slow
def test_keys_that_wait_for_a_save_are_forgotten_when_it_fails(home: Home, page: Page) -> None:
    fill(home, 30, 0)
    with labeller(home.path) as server, closing(sqlite3.connect(home.ledger.path, isolation_level=None)) as other:
        page.goto(server.address)
        first = ready(page)
        other.execute("BEGIN IMMEDIATE")
        for key in ("1", "2", "3"):
            page.keyboard.press(key)
        page.wait_for_selector("#message:has-text('Saving')")
        page.wait_for_selector("#message.error:has-text('Not saved')")
        other.execute("ROLLBACK")
        assert ready(page) == first
        press(page, "3")
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.all()] == [(first, 3)]


@pytest.mark.slow
def test_what_is_typed_while_a_save_is_under_way_means_the_next_post(home: Home, page: Page) -> None:
    fill(home, 30, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        page.evaluate(TYPED, ["1", "n", "s", "o", " ", "u", "Enter", "f", "i", "2", "ArrowLeft", "3", "ArrowLeft"])
        at_rest(page, 28)
    rows = [(x.sentiment_rating, x.flag, x.notes) for x in home.ledger.all()]
    assert rows == [(1, None, None), (2, "irony", "so u"), (3, "irony", "so u")]


def test_caps_lock_changes_nothing_where_no_capital_has_a_meaning(home: Home, page: Page) -> None:
    fill(home, 30, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        first = ready(page)
        press(page, "1")
        assert press(page, "U") == first
        press(page, "S", "C")
    assert [(x.thread_id, x.notes) for x in home.ledger.standing()] == [(first, "skip: cannot tell")]


@pytest.mark.slow
def test_a_second_tab_that_is_behind_shows_how_things_stand_and_changes_nothing(home: Home, page: Page) -> None:
    fill(home, 30, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        behind = page.context.new_page()
        behind.goto(server.origin)
        assert ready(behind) == ready(page)
        second = press(page, "1")
        press(behind, "3")
        assert "another tab" in behind.inner_text("#message")
        assert ready(behind) == second
        press(page, "2")
        press(behind, "u")
        assert "another tab" in behind.inner_text("#message")
        assert [x.sentiment_rating for x in home.ledger.standing()] == [1, 2]
        assert press(behind, "u") == second
    assert [x.sentiment_rating for x in home.ledger.standing()] == [1]


@pytest.mark.slow
def test_marks_are_whole_and_the_note_alone_gives_way(home: Home, page: Page) -> None:
    threads = fill(home, 30, 0)
    with home.database.write() as connection:
        connection.execute("UPDATE thread_ops SET sentiment_model_version = 'v'")
        for thread in threads:
            connection.execute(
                f"INSERT INTO scored_posts VALUES ({thread}, 'v', .2, .1, .7, .5, .3, 'm', now()::TIMESTAMP, NULL)"
            )
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        press(page, "f", "c", "n", *"a note that is far too long to be shown whole", "Enter", "1")
        press(page, "ArrowLeft")
        page.keyboard.press("m")
        widths = page.evaluate(CUT)
        assert [text.split(":")[0].split(" ")[0] for text, _ in widths] == ["was", "flag", "note", "model"]
        assert [cut for _, cut in widths] == [False, False, True, False]


@pytest.mark.slow
def test_looking_back_shows_the_label_and_a_key_there_labels_anew(home: Home, page: Page) -> None:
    fill(home, 60, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        threads = [ready(page), press(page, "1"), press(page, "2"), press(page, "3")]
        page.reload()
        assert ready(page) == threads[3]
        assert [press(page, "ArrowLeft") for _ in range(3)] == threads[2::-1]
        assert "bearish" in page.inner_text("#marks")
        assert press(page, "3") == threads[1]
        assert press(page, "ArrowRight") == threads[2]
        assert press(page, "ArrowRight") == threads[3]
    assert [(x.thread_id, x.sentiment_rating) for x in home.ledger.newest()] == [
        (thread, rating) for thread, rating in sorted(zip(threads, (3, 2, 3), strict=False))
    ]
    assert home.ledger.count() == 4


@pytest.mark.slow
def test_a_database_that_somebody_holds_open_is_not_felt(home: Home, page: Page) -> None:
    fill(home, 60, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        with held(home.database):
            for number in range(12):
                press(page, str(number % 3 + 1))
            press(page, "u")
            page.reload()
            press(page, "1")
    assert len(home.ledger.standing()) == 12


@pytest.mark.slow
def test_pictures_are_blurred_until_asked_for_and_explicit_ones_each_time(home: Home, page: Page) -> None:
    threads = fill(home, 30, 0)
    home.add_pictures({thread: drawn(90, 60, (place * 8, 90, 90)) for place, thread in enumerate(threads)}, nsfw=None)
    home.add_pictures({thread: drawn(60, 90, (place * 8, 50, 9)) for place, thread in enumerate(threads[:15])})
    harmless = set(threads[:15])

    def blurred() -> bool:
        page.wait_for_selector("#frame img")
        return page.evaluate("getComputedStyle(document.querySelector('#frame img')).filter").startswith("blur")

    with labeller(home.path) as server:
        page.goto(server.address)
        for _ in range(4):
            ready(page)
            assert blurred()
            page.keyboard.press("b")
            assert not blurred()
            page.keyboard.press("b")
            assert blurred()
            press(page, "2")
        page.keyboard.press("B")
        seen = set()
        for _ in range(8):
            thread = ready(page)
            assert blurred() == (thread not in harmless)
            seen.add(thread in harmless)
            press(page, "2")
        assert seen == {True, False}
    with labeller(home.path, {"blur": False, "mask_text": True}) as server:
        page.goto(server.address)
        assert blurred() == (ready(page) not in harmless)
        assert not page.is_visible("#text")
        page.keyboard.press("t")
        assert page.is_visible("#text")


def test_markup_in_a_post_is_shown_as_text(home: Home, page: Page) -> None:
    subject, text = (
        "<img src=x onerror=alert(1)>",
        "<script>document.title='broken'</script>\n>quoted <b>bold</b>\n& \"'",
    )
    post = {"thread_id": 7, "posted_at": START.isoformat(), "subject": subject, "op_text_clean": text, "source": "live"}
    home.add_posts([post])
    with labeller(home.path) as server:
        page.goto(server.address)
        assert ready(page) == 7
        assert page.inner_text("#subject") == subject
        assert page.inner_text("#text") == text
        assert page.locator("#post img, #post script, #post b").count() == 0
        assert page.title() == "Labeller · BizCharts"
        page.keyboard.press("1")
        page.wait_for_selector('body[data-state="finished"]')
        assert "Nothing left" in page.inner_text("#subject")
    label = home.ledger.all()[0]
    assert (label.subject_snapshot, label.text_snapshot) == (subject, text)


def test_what_the_model_thinks_is_hidden_until_asked_for_and_then_kept_with_the_label(home: Home, page: Page) -> None:
    threads = fill(home, 20, 0)
    with home.database.write() as connection:
        connection.execute("UPDATE thread_ops SET sentiment_model_version = 'v'")
        for thread in threads:
            connection.execute(
                f"INSERT INTO scored_posts VALUES ({thread}, 'v', .2, .1, .7, .5, .3, 'm', now()::TIMESTAMP, NULL)"
            )
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        assert "model" not in page.inner_text("#marks")
        press(page, "1")
        page.keyboard.press("m")
        assert "model: bullish" in page.inner_text("#marks")
        page.keyboard.press("m")
        press(page, "1")
        press(page, "1")
    assert [label.suggestion for label in home.ledger.all()] == [None, "bullish", None]


def blocked(home: Home) -> int:
    with home.database.read() as connection:
        row = connection.execute("SELECT count(DISTINCT hash) FROM blocked_images").fetchone()
    assert row
    return int(row[0])


@pytest.mark.slow
def test_an_illegal_picture_is_hidden_at_once_and_deleted_however_busy_the_database_is(home: Home, page: Page) -> None:
    fill(home, 30, 30)
    with home.database.read() as connection:
        files = dict(connection.execute("SELECT thread_id, path FROM thumbnails").fetchall())
    with labeller(home.path) as server:
        page.goto(server.address)
        shown, kept = ready(page), press(page, "2")
        press(page, "f", "x")
        until(lambda: not (home.path / files[kept]).exists())
        with held(home.database):
            late = ready(page)
            assert page.request.get(f"{server.origin}/api/labeller/pictures/{late}").status == 200
            press(page, "f", "x")
            assert page.request.get(f"{server.origin}/api/labeller/pictures/{late}").status == 404
            assert (home.path / files[late]).exists()
            server.end()
    with labeller(home.path) as server:  # nobody needs to open the page
        until(lambda: not (home.path / files[late]).exists())
        assert (home.path / files[shown]).exists()
        until(lambda: blocked(home) == 4)  # two hashes of each
    flagged = [label for label in home.ledger.all() if label.flag]
    assert [(x.thread_id, x.skipped, x.flag, x.image_url_snapshot) for x in flagged] == [
        (kept, True, "illegal", None),
        (late, True, "illegal", None),
    ]
