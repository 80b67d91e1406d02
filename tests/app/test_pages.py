"""Data in, words out: each page run as Streamlit runs it, over a real database."""

import codecs
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace

import pytest
from app_world import BUSY_HOUR, HOSTILE, HOSTILE_NAME, HOUR, MODEL, NOW, hour_row, value_at
from lab_worlds import world
from published_rows import insert_index
from streamlit.testing.v1 import AppTest

from bizcharts_pipeline.app.components.posts import item_of
from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.lab.report import report_path, to_json
from bizcharts_pipeline.lab.run import make_report
from bizcharts_pipeline.lab.trials import LEDGER, TrialLedger
from bizcharts_pipeline.settings import load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.learning_curves import CurvePoint, LearningCurve, append_curve
from bizcharts_pipeline.warehouse.posts import source_link

PAGES = ("now", "moved", "coins", "coin", "generals", "copies", "lab", "models", "data")
SECONDS = 60


def opened(page: str, **address: str) -> AppTest:
    """The page as somebody sees it who opens the link."""
    script = f"from bizcharts_pipeline.app.pages.main import app\napp({page!r})"
    test = AppTest.from_string(script, default_timeout=SECONDS)
    for name, value in address.items():
        test.query_params[name] = value
    test.run()
    assert not test.exception, [each.value for each in test.exception]
    return test


def words(test: AppTest) -> str:
    """All that the page says."""
    kinds = (test.title, test.header, test.markdown, test.caption, test.info, test.warning, test.error)
    said = [str(each.value) for kind in kinds for each in kind]
    said += [f"{each.label}: {each.value} {each.delta}" for each in test.metric]
    return "\n".join(said).replace("\\", "")


def posts(test: AppTest) -> str:
    return "".join(each.proto.body for each in test.get("html"))


def test_now_says_the_class_how_unusual_and_how_sure(home: Path) -> None:
    said = words(opened("now"))
    assert "Fear, borderline (Fear to Fear)" not in said
    assert "Fear" in said
    assert "lower than 70 % of the past year's days" in said
    assert "25 to 35" in said
    yesterday = value_at(NOW.replace(minute=0) - 24 * HOUR)
    assert f"Yesterday: {yesterday:.0f} Greed; now −{yesterday - 30:.0f}" in said
    assert "Last week: " in said
    assert "Last year: –" in said
    assert "is final minutes after 2026-03-10 13:00 UTC" in said
    assert "not financial advice" in said


def test_the_newest_hours_are_there_as_a_table(home: Path) -> None:
    hours = opened("now").dataframe[0].value
    assert hours["UTC"][0] == NOW.replace(minute=0)
    assert list(hours.iloc[0])[1:] == ["30", "25 to 35", "+0.10", "80", "100 %", "$40,972"]


def test_what_moved_it_adds_up_to_the_change_in_every_table(home: Path) -> None:
    page = opened("moved")
    (sentence,) = [each.value for each in page.header if "went from" in each.value]
    first, last, change = (float(each.replace("−", "-")) for each in re.findall(r"[+−]\d\.\d+", sentence))
    assert change == pytest.approx(last - first, abs=0.011)
    tables = re.findall(r'<table class="bars">.*?</table>', posts(page))
    assert len(tables) == 4
    for table in tables:
        *parts, total = (float(each.replace("−", "-")) for each in re.findall(r'figure">([+−][\d.]+)<', table))
        assert total == pytest.approx(change, abs=0.006)
        assert sum(parts) == pytest.approx(total, abs=0.0006 * (len(parts) + 1))
    assert posts(page).count('class="post"') == 10


@pytest.mark.slow
def test_two_moments_of_a_link_are_those_explained(home: Path) -> None:
    said = words(opened("moved", to="2026-03-10T11:40", **{"from": "2026-03-10T09:00"}))
    assert "From 2026-03-10 09:00 UTC to 2026-03-10 11:40 UTC." in said
    said = words(opened("moved", to="2026-03-10T11:40", span="1 hour"))
    assert "From 2026-03-10 10:40 UTC to 2026-03-10 11:40 UTC." in said
    said = words(opened("moved", to="2027-01-01"))
    assert "2027-01-01 00:00 UTC has not come yet, so 2026-03-10 12:30 UTC is shown." in said
    said = words(opened("moved", **{"from": "2026-03-10T12:00", "to": "2026-03-10T11:00"}))
    assert "give the earlier moment first" in said


@pytest.mark.parametrize("page", PAGES)
def test_without_a_database_each_page_says_which_command_makes_one(page: str, tmp_path: Path) -> None:
    said = words(opened(page))
    assert "`make serve`" in said
    assert "bizcharts import --last 60" in said
    assert not (tmp_path / "home").exists(), "looking makes nothing"


def test_a_lost_database_is_not_taken_for_a_first_start(tmp_path: Path) -> None:
    settings = load_settings()
    Database.from_settings(settings).migrate()
    Path(settings.database_name).unlink()
    said = words(opened("now"))
    assert "bizcharts restore" in said
    assert "no data yet" not in said


@pytest.mark.parametrize("page", PAGES)
def test_with_an_empty_database_each_page_says_what_is_missing(page: str, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    DatabaseFile(tmp_path / "home" / "bizcharts.duckdb").migrate()
    said = words(opened(page))
    assert "no data yet" in said or "yet" in said


@pytest.mark.parametrize(("state", "expected"), [("no reading", "at least 15 are needed"), ("calibrating", "60 more")])
def test_a_reading_without_a_value_says_why(home: Path, state: str, expected: str) -> None:
    row = hour_row(NOW.replace(minute=0), computed_at=NOW + timedelta(seconds=9), value=None, label=None, state=state)
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        insert_index(connection, [row])
        connection.execute("UPDATE fear_greed_index SET history_days = 0, n_eff = 4 WHERE value IS NULL")
    said = words(opened("now"))
    assert "No index value" in said
    assert expected in said


def test_when_no_poll_comes_the_page_says_that_no_reading_will(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", (NOW + HOUR).isoformat())
    assert "No new reading comes until the service runs (`make serve`)" in words(opened("now"))


def test_just_after_the_full_hour_no_time_of_the_past_is_announced(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = NOW.replace(minute=0) + HOUR + timedelta(minutes=1)
    monkeypatch.setenv("BIZCHARTS_NOW", now.isoformat())
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute(
            "UPDATE catalog_snapshots SET snapshot_at = ? "
            "WHERE snapshot_at = (SELECT max(snapshot_at) FROM catalog_snapshots)",
            [now],
        )
    said = words(opened("now"))
    assert "The hour ended at" in said
    assert "is final minutes" not in said


def test_a_link_as_of_a_moment_shows_what_was_knowable_then(home: Path) -> None:
    then = BUSY_HOUR - 3 * HOUR
    later = hour_row(then - HOUR, computed_at=NOW, value=90.0, label="Extreme Greed")
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        insert_index(connection, [later])
    test = opened("now", as_of=then.isoformat(), hour=BUSY_HOUR.isoformat())
    said = words(test)
    assert "As it was knowable at 2026-03-10 08:00 UTC" in said
    assert "to 2026-03-10 07:00 UTC" in said, "the hour from 7 was computed three minutes after the moment"
    assert "Extreme Greed" not in said
    assert "This hour has no reading" in said
    assert posts(test) == ""


def test_the_moment_stays_in_the_link_on_the_next_page_until_the_present_is_asked_for(home: Path) -> None:
    test = opened("coins", as_of=(NOW - 24 * HOUR).isoformat())
    del test.query_params["as_of"]  # as Streamlit does when another page is chosen
    test.run()
    assert test.query_params["as_of"] in ((NOW - 24 * HOUR).isoformat(), [(NOW - 24 * HOUR).isoformat()])
    next(each for each in test.button if each.label == "Present").click().run()
    assert "as_of" not in test.query_params
    assert "As it was knowable" not in words(test)


def test_a_moment_can_be_typed(home: Path) -> None:
    test = opened("now")
    test.text_input[0].set_value("2026-03-09 12:00")
    next(each for each in test.button if each.label == "Show").click().run()
    assert "As it was knowable at 2026-03-09 12:00 UTC" in words(test)


@pytest.mark.parametrize("moment", ["yesterday", "9" * 30, "2026-13-01", "<script>", "0001-01-01", "x" * 5000])
def test_a_link_with_no_moment_in_it_shows_the_present_and_says_so(home: Path, moment: str) -> None:
    said = words(opened("now", as_of=moment, hour=moment))
    assert "no ISO 8601 time" in said
    assert "25 to 35" in said


def test_a_moment_of_the_future_is_not_shown_as_the_past(home: Path) -> None:
    said = words(opened("now", as_of="2030-01-01"))
    assert "is in the future" in said
    assert "As it was knowable" not in said


@pytest.mark.parametrize(("source", "host"), [("live", "boards.4chan.org"), ("warosu", "warosu.org")])
def test_a_post_links_to_its_source_whatever_the_length_of_the_address(source: str, host: str) -> None:
    post = SimpleNamespace(thread_id=61_234_567, source=source, subject="s", text="W" * 60)
    settings = load_settings(warosu_url=f"https://{'archive.' * 6}warosu.org")
    shown = item_of(post, ["W" * 60], settings, masked=True)
    [address] = re.findall(r'href="([^"]*)"', shown)
    assert address == source_link(source, 61_234_567, settings)
    assert address.isascii()
    assert host in address


def test_a_link_to_an_hour_shows_its_posts_cut_and_with_their_source(home: Path) -> None:
    test = opened("now", hour=BUSY_HOUR.isoformat())
    shown = posts(test)
    assert f"{len(HOSTILE)} opening posts between 11:00 and 12:00 UTC; all are shown" in words(test)
    assert 'href="https://boards.4chan.org/biz/thread/1000"' in shown
    assert "stance −0.60" in shown
    assert "A" * 300 not in shown.replace("\u200b", "")
    assert len(shown) < 30_000
    quiet = posts(opened("now", hour=(BUSY_HOUR - 5 * HOUR).isoformat()))
    assert 'href="https://warosu.org/biz/thread/999"' in quiet


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, tuple[tuple[str, str | None], ...]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, tuple(attrs)))


def test_strangers_posts_add_no_element_to_the_page(home: Path) -> None:
    parser = _Tags()
    parser.feed(posts(opened("now", hour=BUSY_HOUR.isoformat())))
    assert {tag for tag, _ in parser.found} == {"style", "div", "b", "a"}
    for tag, attributes in parser.found:
        given = dict(attributes)
        assert set(given) <= ({"href", "target", "rel"} if tag == "a" else {"class"})
        assert tag != "a" or str(given["href"]).startswith("https://boards.4chan.org/biz/thread/")


@pytest.mark.parametrize("page", PAGES)
def test_strangers_names_start_nothing_on_any_page(home: Path, page: str) -> None:
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute(f"UPDATE model_versions SET model_version = '{HOSTILE_NAME}x' WHERE status = 'champion'")
        connection.execute(f"UPDATE fear_greed_index SET model_version = '{HOSTILE_NAME}x', state = '{HOSTILE_NAME}'")
        connection.execute(f"UPDATE coin_sentiment SET model_version = '{HOSTILE_NAME}x'")
        connection.execute(f"UPDATE warosu_days SET reason = '{HOSTILE_NAME}'")
    test = opened(page, as_of=NOW.isoformat())
    for kind in (test.title, test.header, test.markdown, test.caption, test.info, test.warning, test.error):
        for each in kind:
            assert HOSTILE_NAME not in each.value
            assert ":red[" not in each.value


def test_a_raid_is_named_with_what_it_weighs_and_its_words_add_no_element(home: Path) -> None:
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute(f"UPDATE thread_ops SET cluster_id = 1000 WHERE thread_id BETWEEN 1000 AND {1000 + 5}")
    test = opened("copies", last="1 day")
    assert "1 group of copies, 1 raid among them, 6 posts in all." in words(test)
    shown = posts(test)
    assert "raid: 6 posts, 03-10 11:00 to 03-10 11:" in shown
    assert "of their weight is lost" in shown
    parser = _Tags()
    parser.feed(shown)
    assert {tag for tag, _ in parser.found} == {"style", "div", "b", "a"}


def test_a_coins_mood_is_shown_with_and_without_posts_that_share_a_picture(home: Path) -> None:
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute("UPDATE thread_ops SET image_md5 = 'same' WHERE thread_id BETWEEN 1000 AND 1003")
    (_, table) = opened("coins").dataframe
    rows = {row["coin"]: row for row in table.value.to_dict("records")}
    assert rows["BTC"]["suspected"] == rows["BTC"]["pictures"] == 4
    assert rows["BTC"]["posts"] > 4


def test_slurs_are_masked_until_asked_for(home: Path) -> None:
    word = codecs.encode("snttbg", "rot13")
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute(f"UPDATE thread_ops SET op_text_clean = 'you {word}' WHERE thread_id = 1000")
    test = opened("now", hour=BUSY_HOUR.isoformat())
    assert word not in posts(test)
    test.toggle(key="mask_slurs").set_value(False).run()
    assert word in posts(test)


def test_a_post_that_the_board_deleted_is_not_shown(home: Path) -> None:
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute("INSERT INTO thread_fates VALUES (1000, 'deleted', '2026-03-10 12:20')")
    shown = posts(opened("now", hour=BUSY_HOUR.isoformat()))
    assert "thread/1000" not in shown
    assert "thread/1001" in shown


def test_a_post_that_was_not_held_yet_is_not_shown_as_of_then(home: Path) -> None:
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute("UPDATE thread_ops SET text_known_at = '2026-03-10 12:20' WHERE thread_id = 1000")
    shown = posts(opened("now", hour=BUSY_HOUR.isoformat(), as_of="2026-03-10T12:05"))
    assert "thread/1000" not in shown
    assert "thread/1001" in shown
    assert "thread/1000" in posts(opened("now", hour=BUSY_HOUR.isoformat()))


def _board(**address: str) -> list[str]:
    return list(opened("coins", **address).dataframe[0].value["coin"])


@pytest.mark.slow
def test_coins_rank_by_the_ends_of_their_intervals_and_not_by_the_mean(home: Path) -> None:
    with DatabaseFile(
        home / "bizcharts.duckdb"
    ).write() as connection:  # few posts: the highest mean, and a wide interval
        connection.execute("UPDATE coin_sentiment SET lo = -0.5, hi = 0.9 WHERE coin_symbol = 'DOGE'")
    assert _board() == ["BTC", "ETH", "DOGE"]
    assert _board(order="Most bearish") == ["ETH", "BTC", "DOGE"]
    assert _board(order="Most mentioned") == ["BTC", "ETH", "DOGE"]
    row = opened("coins").dataframe[0].value.iloc[0]
    assert (row["mentions"], round(row["share"], 1), row["change"]) == (50, 69.4, 0.0)
    assert len(row["30 days"]) == 31


def test_a_coins_page_shows_its_reading_its_price_and_its_past(home: Path) -> None:
    test = opened("coin", coin="btc", range="3 months")
    said = words(test)
    assert "BTC" in said
    assert "Mood: +0.15" in said
    assert "+0.05 to +0.25" in said
    assert "Share of mentions: 69 %" in said
    assert "Price $40,972 at 2026-03-10 12:00 UTC" in said


@pytest.mark.parametrize(("page", "default"), [("now", "1 month"), ("coin", "1 month"), ("coins", "Most bullish")])
@pytest.mark.parametrize("choice", ["<b>", "1 decade", "", "x" * 5000])
def test_a_choice_in_a_link_that_is_none_counts_as_not_given(home: Path, page: str, default: str, choice: str) -> None:
    test = opened(page, range=choice, order=choice)
    assert test.segmented_control[0].value in (default, None)  # None: the page takes its default


@pytest.mark.parametrize("coin", ["", "../x", "<b>", ":red[x]", "XQ" * 40])
def test_a_link_to_no_coin_opens_the_first_of_the_board(home: Path, coin: str) -> None:
    test = opened("coin", coin=coin)
    assert test.selectbox[0].value == "BTC"


@pytest.mark.parametrize("coin", ["FTM", "ftm"])
def test_a_link_to_a_coin_without_readings_shows_no_other_coin(home: Path, coin: str) -> None:
    test = opened("coin", coin=coin)
    assert test.selectbox[0].value == "FTM"
    assert "Mood" not in words(test)
    assert "The board does not name this coin today" in words(test)


def test_models_says_which_scores_how_good_each_is_and_what_was_decided(home: Path) -> None:
    test = opened("models")
    assert f"scored by **{MODEL}** (lexicon)" in words(test)
    versions, figures, confusion, switches, most, drift, terms, decisions = (each.value for each in test.dataframe)
    assert "A better model waits for you" in words(test)
    assert list(switches["outcome"]) == ["held", "switched"]
    assert list(switches["index shift"]) == ["+27.4 points (+20.1 to +33.0)", "-"]
    assert (switches["not measured"][1], most["thread"][0]) == ("upgraded", 1)
    assert set(versions["version"]) == {MODEL, HOSTILE_NAME}
    assert (figures["accuracy"][0], figures["95 %"][0], figures["log loss"][0]) == ("61 %", "53 % to 69 %", "0.865")
    assert list(confusion["bearish"]) == [10, 4, 1]
    assert (decisions["promoted"][0], decisions["p (bootstrap)"][0]) == ("no", "0.210")
    assert "drift alarm since 2026-03-05, raised by domain and confidence. At most 0.075 false alarms" in words(test)
    assert list(drift["exceeded"]) == ["yes", "no", "no"]
    assert "The vocabulary of the last 7 days differs" in drift["in words"][0]
    assert drift["in words"][2] == "Not measured: too few."
    assert (terms["posts"][0], terms["examples"][0]) == (9, "1000")
    early = opened("models", as_of="2026-02-01T12:00")
    assert "There is no drift report yet" in words(early)
    assert "No switch was previewed yet" in words(early)
    assert list(early.dataframe[0].value["version"]) == [MODEL]
    assert "No model was measured yet" in words(early)


def test_data_says_what_is_there_and_what_is_missing(home: Path) -> None:
    test = opened("data")
    said = words(test)
    assert "Gaps: 1" in said
    assert "Not complete: 2026-03-07 to 2026-03-10" in said
    assert "13 posts from live" in said
    polls = next(each.value for each in test.dataframe if "polls" in each.value)
    assert (polls["polls"][0], polls["unreadable entries"][0]) == (1, 1)
    assert any(HOSTILE_NAME in set(each.value.get("labeller", [])) for each in test.dataframe)


def test_data_says_what_more_labels_are_worth(home: Path) -> None:
    assert "more labels take" not in words(opened("data"))
    points = (CurvePoint(60, 0.5, 0.4), CurvePoint(480, 0.62, 0.55))
    curve = LearningCurve("text-a", "ensemble", "abc", 600, 5, points, 0.03, 0.005, 0.04, 0.01, NOW)
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        append_curve(connection, curve)
    test = opened("data")
    assert "300 more labels take about 20 minutes and are expected to add +" in words(test)
    assert "Learning curve" in [each.label for each in test.expander]


def test_an_outage_of_the_polls_is_named(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said = words(opened("data"))
    assert "Between the polls there was no outage" in said
    assert "this outage lasts" not in said
    monkeypatch.setenv("BIZCHARTS_NOW", (NOW + 5 * HOUR).isoformat())
    assert "5.0 hours ago: this outage lasts" in words(opened("data"))
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute(
            "INSERT INTO catalog_snapshots BY NAME SELECT '2026-03-09 10:00'::TIMESTAMP AS snapshot_at, "
            "150 AS total_threads, FALSE AS not_modified"
        )
    outages = next(each.value for each in opened("data").dataframe if "next poll" in each.value)
    assert outages.to_dict("records") == [
        {"last poll": "2026-03-09 10:00 UTC", "next poll": "2026-03-10 12:29 UTC", "hours": "26.5"}
    ]


def test_the_lab_answers_in_words_and_shows_no_report_of_another_moment(home: Path) -> None:
    assert "Run `make install-lab` once" in words(opened("lab"))
    pairs = [world(1, 400), replace(world(2, 300), name=HOSTILE_NAME, title=HOSTILE_NAME, price=HOSTILE_NAME)]
    pairs.append(replace(world(3, 100), name="reference", title=HOSTILE_NAME))
    report = make_report(pairs, TrialLedger(home / LEDGER), NOW)
    write_atomically(report_path(home), to_json(report))
    test = opened("lab")
    said = words(test)
    assert "Does the index say anything about the next days' price? No." in said
    assert "adjusted p" in said
    assert "95 % interval" in said
    reasons = [str(reason) for table in test.dataframe if "reason" in table.value for reason in table.value["reason"]]
    assert any("100 of the 250 days that it takes" in reason for reason in reasons)
    assert list(test.dataframe[0].value["mood"]) == ["index", HOSTILE_NAME]
    assert list(test.dataframe[2].value["rule"])[:2] == ["hold", "fear-long"]
    for kind in (test.subheader, test.markdown, test.caption):
        assert not any(HOSTILE_NAME in each.value for each in kind)
    assert "No report was made as of this moment" in words(opened("lab", as_of="2026-03-01T12:00"))
    report_path(home).write_text("{}")
    assert "cannot be read" in words(opened("lab"))


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Another process has the file open for writing, as a shell has."""
    program = "import duckdb, sys; c = duckdb.connect(sys.argv[1]); print('held', flush=True); sys.stdin.read()"
    command = [sys.executable, "-c", program, str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout
        assert holder.stdout.readline() == b"held\n"
        yield
        holder.kill()


def test_a_busy_database_is_said_and_no_error(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_DATABASE_WAIT_SECONDS", "0.1")
    with held(home / "bizcharts.duckdb"):
        assert "The database is busy at the moment" in words(opened("now"))


@pytest.mark.slow
def test_an_unchanged_database_is_not_opened_again(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_DATABASE_WAIT_SECONDS", "0.1")
    before = {page: words(opened(page)) for page in PAGES}
    opens: list[object] = []
    read = DatabaseFile.read
    monkeypatch.setattr(DatabaseFile, "read", lambda database: opens.append(database) or read(database))
    assert {page: words(opened(page)) for page in PAGES} == before
    assert opens == []


def test_a_new_reading_is_on_the_page_at_its_next_run(home: Path) -> None:
    test = opened("now")
    row = hour_row(NOW.replace(minute=0), computed_at=NOW + timedelta(seconds=9), value=80.0, label="Extreme Greed")
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        insert_index(connection, [row])
    assert "Extreme Greed" not in words(test)
    assert "Extreme Greed" in words(test.run())


def test_data_says_that_another_training_is_worth_it(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_ML__CONTINUAL__RETRAIN_AFTER", "1")
    assert "is due" not in words(opened("data"))  # what its models were trained on is not there
    folder = home / "models" / "x"
    folder.mkdir(parents=True)
    (folder / "trained_on.json").write_text('[{"thread_id": 999, "label": 0, "text_sha256": ""}]')
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute("UPDATE training_labels SET text_snapshot = 'to the moon'")
    said = words(opened("data")).replace("\u2060", "")
    assert "Training the text models again is due: 1 labelled post that " in said
    assert "It runs on this machine and costs nothing" in said
