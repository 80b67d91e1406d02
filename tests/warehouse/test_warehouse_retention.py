import random
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from samples import prepared

from bizcharts_pipeline.core.rows import Mention, PreparedThread, ScoredMention, ScoredPost
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse import retention
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.models import ensure_lexicon_champion
from bizcharts_pipeline.warehouse.scores import save_scores, unscored_posts
from bizcharts_pipeline.warehouse.threads import MergeResult, merge_threads
from bizcharts_pipeline.warehouse.values import table

NOW = datetime(2026, 3, 1, 4, 43)
MIDNIGHT = datetime(2026, 3, 1)
FOR_EVER = RetentionSettings(
    html_days=0, observations_full_days=0, observations_hourly_days=0, threads_days=0, image_days=0, price_days=0
)
TABLES = (
    *("thread_ops", "thread_observations", "coin_mentions", "scored_posts", "scored_mentions", "thumbnails"),
    *("thread_fates", "catalog_snapshots", "coin_prices", "retention_marks"),
)


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    return DatabaseFile(tmp_path / "bizcharts.duckdb", wait_seconds=30)


def policy(**periods: int) -> RetentionSettings:
    return FOR_EVER.model_copy(update=periods)


def days_ago(days: float) -> datetime:
    return NOW - timedelta(days=days)


def rows(database: DatabaseFile, query: str) -> list[tuple[Any, ...]]:
    with database.read() as connection:
        return connection.execute(query).fetchall()


def contents(database: DatabaseFile) -> list[list[tuple[Any, ...]]]:
    return [rows(database, f"SELECT * FROM {name} ORDER BY ALL") for name in TABLES]


def post(number: int, days: float, source: str = "live", **fields: Any) -> PreparedThread:
    return prepared(number, text=f"post {number}", posted_at=days_ago(days), source=source, **fields)


def take_in(database: DatabaseFile, post: PreparedThread, *, days: float, seen: bool = True) -> MergeResult:
    """Hold ``post`` since so many days ago, as a poll of then saw it or an import brought it."""
    at = days_ago(days)
    with database.write() as connection:
        return merge_threads(connection, [post], ingested_at=at, seen_at=at if seen else None)


def observe(connection: duckdb.DuckDBPyConnection, looks: Sequence[tuple[int, datetime, int | None]]) -> None:
    given = [{"thread_id": number, "seen_at": at, "reply_count": replies} for number, at, replies in looks]
    columns = {"thread_id": "BIGINT", "seen_at": "TIMESTAMP", "reply_count": "INTEGER"}
    connection.execute(f"INSERT INTO thread_observations BY NAME SELECT * FROM {table(given, columns)}")


def counts(reports: Sequence[retention.RuleReport]) -> dict[str, int]:
    return {report.rule: report.rows for report in reports}


def test_nothing_goes_where_every_period_is_for_ever(database: DatabaseFile) -> None:
    take_in(database, post(1, 4000), days=4000)
    before = contents(database)
    assert retention.plan(database, FOR_EVER, NOW) == retention.apply(database, FOR_EVER, NOW) == []
    assert contents(database) == before


@pytest.mark.slow
def test_a_dry_run_says_what_will_be_done_and_does_nothing(database: DatabaseFile) -> None:
    fill(database, threads=60)
    before = contents(database)
    for rules in (policy(threads_days=30), policy(html_days=2), policy(observations_full_days=1), policy(price_days=1)):
        planned = counts(retention.plan(database, rules, NOW))
        assert contents(database) == before
        assert counts(retention.apply(database, rules, NOW)) == planned
        assert sum(planned.values()) > 0
        assert sum(counts(retention.apply(database, rules, NOW)).values()) == 0
        before = contents(database)


def test_stripped_html_is_no_other_text_to_a_later_poll_or_import(database: DatabaseFile) -> None:
    for number, source in ((1, "live"), (2, "warosu")):
        take_in(database, post(number, 31.5, source), days=31.5, seen=source == "live")
    with database.write() as connection:
        ensure_lexicon_champion(connection, "lexicon-1", "sha256", NOW)
        scored = [ScoredPost(number, 0.2, 0.3, 0.5, 0.3, 0.1, "lexicon") for number in (1, 2)]
        save_scores(connection, "lexicon-1", scored, [], NOW)
    take_in(database, post(3, 3), days=3)
    assert counts(retention.apply(database, policy(html_days=30), NOW)) == {"raw HTML": 2}
    for number, source in ((1, "live"), (1, "warosu"), (2, "warosu"), (2, "live")):
        merged = take_in(database, post(number, 31.5, source), days=0, seen=source == "live")
        assert (merged.new, merged.changed_text) == (0, 0)
    kept = rows(database, "SELECT op_text, op_text_clean FROM thread_ops ORDER BY thread_id")
    assert kept == [(None, "post 1"), (None, "post 2"), ("<b>post 3</b>", "post 3")]
    with database.read() as connection:
        assert [waiting.thread_id for waiting in unscored_posts(connection, "lexicon-1", 9)] == [3]
    changed = prepared(1, text="edited", posted_at=days_ago(31.5))
    assert take_in(database, changed, days=-1).changed_text == 1
    assert rows(database, "SELECT op_text FROM thread_ops WHERE thread_id = 1") == [("<b>edited</b>",)]


@pytest.mark.slow
def test_threads_go_with_all_that_is_said_of_them_but_for_those_that_stay_for_ever(database: DatabaseFile) -> None:
    old = 400
    take_in(database, post(1, old), days=old)
    take_in(database, post(2, old, reply_count=50), days=old)
    take_in(database, post(3, old, "warosu", reply_count=80), days=old, seen=False)
    take_in(database, post(4, 3000, "warosu"), days=100, seen=False)  # imported lately
    take_in(database, post(5, 3000, sticky=True), days=3000)
    take_in(database, post(5, 3000, sticky=True), days=0)  # still there
    for number in (6, 7, 8, 9):
        take_in(database, post(number, old + number), days=old)
    with database.write() as connection:
        connection.execute("INSERT INTO training_labels (thread_id, labeler_id, labeled_at) VALUES (6, 'me', now())")
        connection.execute(
            "INSERT INTO auto_labels (thread_id, provider, model, prompt_version, status, labeled_at) "
            "VALUES (7, 'p', 'm', '1', 'ok', now())"
        )
        for number in range(1, 10):
            connection.execute(f"INSERT INTO coin_mentions VALUES ({number}, 'BTC', 1, 'text')")
            connection.execute(f"INSERT INTO thread_fates VALUES ({number}, 'archived', now())")
            connection.execute(f"INSERT INTO thumbnails (thread_id, status) VALUES ({number}, 'missing')")
        posts = [ScoredPost(number, 0, 0, 1, 1, 1, "m") for number in range(1, 10)]
        mentions = [ScoredMention(number, "BTC", 1, 1) for number in range(1, 10)]
        save_scores(connection, "m", posts, mentions, NOW)
    done = retention.apply(database, policy(threads_days=365), NOW, labelled=[8])
    assert counts(done) == {"threads": 2}
    for name in TABLES[:7]:
        left = {number for (number,) in rows(database, f"SELECT thread_id FROM {name}")}
        never_seen = {3, 4} if name == "thread_observations" else set()
        assert left == {2, 3, 4, 5, 6, 7, 8} - never_seen, name
    marks = rows(database, "SELECT what, gone_before FROM retention_marks")
    assert marks == [("threads", days_ago(old) + timedelta(microseconds=1))]
    retention.apply(database, policy(threads_days=99), NOW)  # goes back to 2019, and the mark does not
    assert rows(database, "SELECT what, gone_before FROM retention_marks") == marks


@pytest.mark.slow
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.tuples(st.integers(0, 40 * 96), st.sampled_from([None, 3, 4])), min_size=1, max_size=80),
    st.lists(st.integers(0, 59 * 60), min_size=1, max_size=4),
)
def test_thinned_observations_keep_what_is_looked_at_again(
    tmp_path_factory: pytest.TempPathFactory, quarters: list[tuple[int, int | None]], offsets: list[int]
) -> None:
    database = DatabaseFile(tmp_path_factory.mktemp("thin") / "b.duckdb")
    posted = {n: MIDNIGHT - timedelta(days=40) + timedelta(seconds=offset) for n, offset in enumerate(offsets)}
    looks = {
        (number, posted[number] + after, replies)
        for number in posted
        for quarter, replies in quarters
        for after in (timedelta(minutes=15 * quarter), timedelta(minutes=4 * (quarter % 35)))
    }
    with database.write() as connection:
        threads = [prepared(number, posted_at=moment) for number, moment in posted.items()]
        merge_threads(connection, threads, ingested_at=NOW, seen_at=None)
        observe(connection, sorted(looks, key=str))
    rules = policy(observations_full_days=7, observations_hourly_days=20)
    retention.apply(database, rules, NOW)
    kept = set(rows(database, "SELECT thread_id, seen_at, reply_count FROM thread_observations"))
    assert kept <= looks
    full, hourly = MIDNIGHT - timedelta(days=7), MIDNIGHT - timedelta(days=20)
    assert {look for look in looks if look[1] > full} <= kept
    for number, moment in posted.items():
        young = moment + timedelta(hours=2)
        hours = [young.replace(minute=0, second=0, microsecond=0) - timedelta(hours=back) for back in (0, 1)]
        for by in (*hours, young):
            assert last(looks, number, by) == last(kept, number, by)
    step, moment = timedelta(hours=1), hourly
    while moment <= full:
        moment += step
        for number in posted:
            assert last(looks, number, moment) == last(kept, number, moment)
    old = [look for look in kept if look[1] <= hourly and look[1] > posted[look[0]] + timedelta(hours=2)]
    slots = {(number, (at - timedelta(microseconds=1)).date(), replies is None) for number, at, replies in old}
    assert len({(number, at) for number, at, _ in old}) <= 2 * len(slots)
    assert sum(counts(retention.apply(database, rules, NOW)).values()) == 0


def last(looks: set[tuple[int, datetime, int | None]], number: int, by: datetime) -> datetime | None:
    """When replies were last counted at or before a moment."""
    return max((at for n, at, replies in looks if n == number and at <= by and replies is not None), default=None)


def test_thinned_polls_still_tell_every_hour_that_was_polled(database: DatabaseFile) -> None:
    fill(database, threads=1)
    hours = "SELECT DISTINCT date_trunc('hour', snapshot_at) AS hour FROM catalog_snapshots ORDER BY hour"
    polled = rows(database, hours)
    newest = "SELECT count(*) FROM catalog_snapshots WHERE snapshot_at >= TIMESTAMP '2026-02-27'"
    recent = rows(database, newest)
    retention.apply(database, policy(observations_full_days=2, observations_hourly_days=3), NOW)
    assert rows(database, hours) == polled
    assert rows(database, newest) == recent
    old = rows(database, "SELECT snapshot_at FROM catalog_snapshots WHERE snapshot_at < TIMESTAMP '2026-02-27'")
    assert old
    assert {at.minute for (at,) in old} == {50}


def test_thinned_prices_keep_the_close_of_every_day_and_source(database: DatabaseFile) -> None:
    with database.write() as connection:
        connection.execute(
            """
            INSERT INTO coin_prices SELECT coin, moment, 1, source
            FROM range(TIMESTAMP '2026-02-20 00:05', TIMESTAMP '2026-03-01', INTERVAL 5 MINUTE) AS t(moment),
                 (VALUES ('BTC'), ('ETH')) AS c(coin), (VALUES ('a'), ('b')) AS s(source)
            WHERE source = 'a' OR moment <> date_trunc('day', moment)
            """
        )
    retention.apply(database, policy(price_days=3), NOW)
    found = rows(database, "SELECT source, \"at\" FROM coin_prices WHERE coin_symbol = 'BTC' ORDER BY ALL")
    old = [(source, at) for source, at in found if at <= datetime(2026, 2, 26)]
    closes = [datetime(2026, 2, 21) + timedelta(days=k) for k in range(6)]
    assert old == [("a", at) for at in closes] + [("b", at - timedelta(minutes=5)) for at in closes]
    assert len([at for source, at in found if source == "a" and at > datetime(2026, 2, 26)]) == 3 * 288 - 1


@pytest.mark.slow
@pytest.mark.fault("SIGKILL", stage="maintenance", expected="the next run goes on")
def test_a_killed_run_is_taken_up_by_the_next(tmp_path: Path) -> None:
    killed, whole = DatabaseFile(tmp_path / "killed.duckdb", 30), DatabaseFile(tmp_path / "whole.duckdb", 30)
    for database in (killed, whole):
        fill(database, threads=900)
    rng = random.Random(7)
    rules = policy(threads_days=30, html_days=10, observations_full_days=2, observations_hourly_days=9, price_days=3)
    retention.apply(whole, rules, NOW)
    done = 0
    for _ in range(6):
        command = [sys.executable, __file__, str(killed.path), rules.model_dump_json()]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout
            assert process.stdout.readline() == "at work\n"
            time.sleep(rng.uniform(0, 0.4))
            process.send_signal(signal.SIGKILL)
            done += process.wait() == 0
        lost = "SELECT count(*) FROM {} AS o ANTI JOIN thread_ops AS t USING (thread_id)"
        assert all(rows(killed, lost.format(name)) == [(0,)] for name in TABLES[1:7])
    assert done < 6, "every run had ended before it was killed"
    retention.apply(killed, rules, NOW)
    for ours, theirs in zip(contents(killed), contents(whole), strict=True):
        assert ours == theirs


def fill(database: DatabaseFile, threads: int) -> None:
    """Threads of the last 60 days with a few looks each, and five days' polls and prices."""
    posts = [post(n, 60 - 60 * n / threads, reply_count=n % 60) for n in range(threads)]
    posts = [PreparedThread(p.thread, p.text, None, 0.0, (Mention("BTC", 0.9, "text", ""),)) for p in posts]
    with database.write() as connection:
        merge_threads(connection, posts, ingested_at=days_ago(60), seen_at=None)
        connection.execute("UPDATE thread_ops SET ingested_at = posted_at, text_known_at = posted_at")
        looks = [
            (p.thread.thread_id, p.thread.posted_at + timedelta(minutes=11 * k * k), k)
            for p in posts
            for k in range(20)
        ]
        observe(connection, looks)
        connection.execute(
            "INSERT INTO catalog_snapshots (snapshot_at, not_modified) SELECT moment, FALSE FROM "
            "range(TIMESTAMP '2026-02-24', TIMESTAMP '2026-03-01', INTERVAL 10 MINUTE) AS t(moment)"
        )
        connection.execute(
            "INSERT INTO coin_prices SELECT 'BTC', moment, 1, 'a' FROM "
            "range(TIMESTAMP '2026-02-24', TIMESTAMP '2026-03-01', INTERVAL 5 MINUTE) AS t(moment)"
        )


def main(path: str, rules: str) -> None:
    """A run that is to be killed: in small steps, over and over."""
    retention.ROWS_AT_A_TIME = 60
    print("at work", flush=True)
    retention.apply(DatabaseFile(Path(path), 30), RetentionSettings.model_validate_json(rules), NOW)


if __name__ == "__main__":
    main(*sys.argv[1:])
