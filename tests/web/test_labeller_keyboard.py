from datetime import timedelta

from labeller_world import START, Home, drawn, fill, held, labeller, press, ready, until
from playwright.sync_api import Page

from bizcharts_pipeline.clock import utc_now


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


def test_a_key_that_is_held_down_or_pressed_twice_labels_one_post(home: Home, page: Page) -> None:
    fill(home, 60, 0)
    with labeller(home.path) as server:
        page.goto(server.address)
        ready(page)
        for _ in range(20):
            page.keyboard.down("2")
        page.keyboard.up("2")
        page.wait_for_timeout(300)
        ready(page)
        assert home.ledger.count() == 1
        page.keyboard.press("2")
        page.keyboard.press("2")
        page.wait_for_timeout(300)
    assert home.ledger.count() == 2


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
                f"INSERT INTO scored_posts VALUES ({thread}, 'v', .2, .1, .7, .5, .3, 'm', now()::TIMESTAMP)"
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
    flagged = [label for label in home.ledger.all() if label.flag]
    assert [(x.thread_id, x.skipped, x.flag, x.image_url_snapshot) for x in flagged] == [
        (kept, True, "illegal", None),
        (late, True, "illegal", None),
    ]
    with home.database.read() as connection:
        assert connection.execute("SELECT count(DISTINCT hash) FROM blocked_images").fetchone() == (4,)
