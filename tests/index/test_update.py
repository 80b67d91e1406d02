from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from math import log

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from index_world import (
    MODEL,
    QUICK,
    START,
    MadePost,
    known_by,
    new_database,
    random_posts,
    rows_of,
    store_posts,
)

from bizcharts_pipeline.index import vintages
from bizcharts_pipeline.index.clusters import assign_clusters
from bizcharts_pipeline.index.update import update_index
from bizcharts_pipeline.index.votes import MINUTE
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse import retention
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

MARKET = "bucket, bucket_start, value, stance, raw_stance, n, n_eff, state, label, lo, hi, final"
COINS = "coin_symbol, bucket, bucket_start, score, mentions, n_eff, lo, hi, final"
TABLES = ("fear_greed_index", "coin_sentiment")
CURRENT = """(
    SELECT * FROM {table} QUALIFY row_number() OVER (PARTITION BY {key} ORDER BY computed_at DESC) = 1
) current"""


@pytest.fixture(autouse=True, scope="module")
def without_grace():
    """Buckets are final at once, so that the tests can speak of full hours; the period of grace has its own test."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(vintages, "GRACE", 0)
        yield


def update(database, now, *, full=False, parameters=QUICK, model=MODEL, generals=()):
    return update_index(
        database, model_version=model, now=now, parameters=parameters, full=full, excluded_generals=generals
    )


def market_rows(database, where="true"):
    return rows_of(database, CURRENT.format(table="fear_greed_index", key="bucket, bucket_start"), MARKET, where)


def coin_rows(database, where="true"):
    key = "coin_symbol, bucket, bucket_start"
    return rows_of(database, CURRENT.format(table="coin_sentiment", key=key), COINS, where)


def assert_same(ours, theirs, numbers, places, tolerance):
    assert len(ours) == len(theirs)
    for one, other in zip(ours, theirs, strict=True):
        for place, value in enumerate(one):
            if place in numbers:
                assert value == pytest.approx(other[place], abs=tolerance, nan_ok=True)
            elif place in places:
                assert value == other[place], (one, other)


@pytest.mark.slow
def test_hourly_ticks_end_where_a_full_rebuild_does(tmp_path):
    made = random_posts(seed=11, days=16, per_day=70)
    ticking, whole = new_database(tmp_path), new_database(tmp_path / "..")
    store_posts(ticking, [p for p in made if p.posted_at <= START + timedelta(days=9)])
    update(ticking, START + timedelta(days=9), full=True)
    known = START + timedelta(days=9)
    for hour in [*range(9 * 24 + 18, 10 * 24 + 3), 10 * 24 + 9, 15 * 24, 16 * 24 - 5]:
        now = START + timedelta(hours=hour, minutes=3)
        store_posts(ticking, [p for p in made if known < p.posted_at <= now])
        known = now
        update(ticking, now)
    store_posts(whole, made)
    update(whole, known, full=True)
    # Looks that were taken after a tick are stored at once here, so ticks and rebuild see the same.
    ours, theirs = market_rows(ticking), market_rows(whole)
    assert_same(ours, theirs, {2}, {0, 1, 5, 7, 8, 11}, 0.05)
    assert_same(ours, theirs, {3, 4, 6}, {0}, 1e-7)
    # Bounds of an incremental run lack 0.1 % of the variance: at most one step of the rank of 5 to 15 days.
    assert_same(ours, theirs, {9, 10}, {0}, 100 / 6 + 0.1)
    assert_same(coin_rows(ticking), coin_rows(whole), {3, 5}, {0, 1, 2, 4, 8}, 1e-6)
    # The current vintage equals the only one: no tick had to correct what another had written.
    assert len(rows_of(ticking, "fear_greed_index")) == len(ours)


def test_a_second_update_changes_nothing(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, random_posts(seed=1, days=8, per_day=50))
    now = START + timedelta(days=8, minutes=-20)
    first_hour, running_hour = 1, 1  # nobody had posted or looked yet; not over yet
    assert update(database, now).new_readings == 8 * 24 - first_hour - running_hour + 7
    published = [rows_of(database, table, where="final") for table in TABLES]
    for full in (False, True):
        update(database, now, full=full)
        once = [rows_of(database, table) for table in TABLES]
        again = update(database, now, full=full)
        assert (again.new_readings, again.new_coin_readings) == (0, 0)
        assert [rows_of(database, table) for table in TABLES] == once
        assert [rows_of(database, table, where="final") for table in TABLES] == published


@pytest.mark.slow
@settings(max_examples=6, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 1000), hour=st.integers(24, 7 * 24), minute=st.integers(0, 59))
def test_what_comes_later_changes_nothing_before(tmp_path_factory, seed, hour, minute):
    made = random_posts(seed=seed, days=8, per_day=40)
    moment = START + timedelta(hours=hour, minutes=minute)
    cut, whole = new_database(tmp_path_factory.mktemp("cut")), new_database(tmp_path_factory.mktemp("whole"))
    store_posts(cut, [known_by(p, moment) for p in made if p.posted_at <= moment])
    store_posts(whole, made)
    update(cut, moment, full=True)
    update(whole, START + timedelta(days=8), full=True)
    complete = f"final AND bucket_start + if(bucket = 'day', INTERVAL 1 DAY, INTERVAL 1 HOUR) <= '{moment}'"
    numbers = {2, 3, 4, 6, 9, 10}
    ours, theirs = market_rows(cut, complete), market_rows(whole, complete)
    assert len(ours) > hour / 2  # hours before the first post have no row
    assert_same(ours, theirs, numbers, {0, 1, 5, 7, 8}, 1e-5)
    assert_same(coin_rows(cut, complete), coin_rows(whole, complete), {3, 5, 6, 7}, {0, 1, 2, 4}, 1e-5)


def test_late_posts_make_new_vintages_and_leave_the_old_rows(tmp_path):
    database = new_database(tmp_path)
    made = random_posts(seed=4, days=8, per_day=50)
    now = START + timedelta(days=8)
    store_posts(database, made)
    update(database, now, full=True)
    published = rows_of(database, "fear_greed_index", where="final")
    late = [
        MadePost(5000 + k, START + timedelta(days=6, hours=2, minutes=k), 1.0, 0.0, coins=("BTC",), live=False)
        for k in range(20)
    ]
    late = [replace(post, ingested_at=now + timedelta(minutes=1)) for post in late]
    store_posts(database, late, polled=False)
    update(database, now + timedelta(minutes=5))
    assert rows_of(database, "fear_greed_index", where="final") == published  # a tick does not look so far back
    corrected = update(database, now + timedelta(minutes=6), full=True)
    assert 40 <= corrected.new_readings <= 2 * 24 + 2
    final = rows_of(database, "fear_greed_index", where="final")
    assert set(published) <= set(final)
    newer = f"final AND computed_at > '{now}'"
    assert {row[0] for row in rows_of(database, "fear_greed_index", "basis", newer)} == {"reconstructed"}
    knowable = rows_of(database, "fear_greed_index", "min(knowable_at)", newer)
    assert knowable == [(now + timedelta(minutes=1),)]


def test_provisional_rows_are_replaced_and_final_rows_stay(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, random_posts(seed=6, days=3, per_day=60))
    noon = START + timedelta(days=2, hours=12)
    for minutes in (10, 40, 70):
        update(database, noon + timedelta(minutes=minutes))
        running = rows_of(database, "fear_greed_index", "bucket, bucket_start, knowable_at", "NOT final")
        now = noon + timedelta(minutes=minutes)
        assert running == [
            ("day", START + timedelta(days=2), now),
            ("hour", now.replace(minute=0), now),
        ]
        assert {row[0] for row in rows_of(database, "coin_sentiment", "bucket_start", "NOT final")} == {
            START + timedelta(days=2),
            now.replace(minute=0),
        }
    finals = rows_of(database, "fear_greed_index", "bucket_start, computed_at", "final AND bucket = 'hour'")
    assert finals[-1] == (noon, noon + timedelta(minutes=70))
    assert len(finals) == 2 * 24 + 13


def test_a_bucket_stays_provisional_until_its_last_posts_can_have_been_seen(tmp_path, monkeypatch):
    monkeypatch.setattr(vintages, "GRACE", 3 * MINUTE)
    database = new_database(tmp_path)
    store_posts(database, steady_posts(2))
    end = START + timedelta(days=1, hours=6)
    final_at = {}
    for minutes in (0, 2, 3):
        update(database, end + timedelta(minutes=minutes))
        rows = market_rows(database, f"bucket = 'hour' AND bucket_start = '{end - timedelta(hours=1)}'")
        final_at[minutes] = [row[-1] for row in rows]
    assert final_at == {0: [False], 2: [False], 3: [True]}


def test_live_is_what_was_computed_in_time_from_posts_seen_on_the_board(tmp_path):
    database = new_database(tmp_path)
    made = random_posts(seed=6, days=6, per_day=60)
    border = START + timedelta(days=3)
    store_posts(database, [p if p.posted_at > border else replace(p, live=False) for p in made])
    update(database, START + timedelta(days=3, hours=20))
    update(database, START + timedelta(days=5))
    update(database, START + timedelta(days=5, hours=1))
    live = rows_of(database, "fear_greed_index", "bucket, bucket_start", "basis = 'live' AND final")
    at = START + timedelta(days=5)
    assert live == [
        ("day", START + timedelta(days=4)),
        ("hour", at - timedelta(hours=3)),
        ("hour", at - timedelta(hours=2)),
        ("hour", at - timedelta(hours=1)),
        ("hour", at),
    ]


def test_spam_pinned_threads_and_other_generals_do_not_count(tmp_path):
    database = new_database(tmp_path)
    made = steady_posts(30)
    odd = [replace(p, thread_id=p.thread_id + 500, up=1.0, down=0.0) for p in made[:4]]
    odd = [replace(odd[0], spam=0.8), replace(odd[1], sticky=True), replace(odd[2], general="smg")]
    store_posts(database, made + odd)
    now = START + timedelta(hours=9)
    result = update(database, now, generals=("smg",))
    assert result.readings is not None
    assert result.readings.n[-1] == 30
    assert result.readings.raw_stance[-1] == pytest.approx(-0.2)


def test_replies_weigh_as_seen_by_the_readings_hour_at_most_two_hours_after_the_post(tmp_path):
    database = new_database(tmp_path)
    at = START + timedelta(hours=3, minutes=30)
    looks = (
        (at + timedelta(minutes=20), 9),
        (at + timedelta(minutes=80), 40),
        (at + timedelta(minutes=121), 300),
    )
    store_posts(
        database,
        [MadePost(1, at, 1.0, 0.0, looks=looks), MadePost(2, at, 0.0, 1.0)],
    )
    result = update(database, START + timedelta(hours=8), parameters=QUICK)
    assert result.readings is not None
    stances = [(1 + log(1 + r) - 1) / (1 + log(1 + r) + 1) for r in (9, 40, 40, 40)]
    assert result.readings.raw_stance[3:7] == pytest.approx(stances)


def test_a_coin_with_few_voices_has_a_wide_interval(tmp_path):
    database = new_database(tmp_path)
    made = [replace(p, coins=(), cluster_id=None, confidence=0.5, looks=()) for p in random_posts(6, 6, 60)]
    coins = ["AAA", "BBB", "BBB", "CCC", "CCC", "BBB", "BBB"] * 3
    last = [replace(post, coins=(coin,)) for post, coin in zip(made[-len(coins) :], coins, strict=True)]
    original = next(post.thread_id for post in last if post.coins == ("CCC",))
    last = [replace(p, cluster_id=original) if p.coins == ("CCC",) else p for p in last]
    store_posts(database, made[: -len(coins)] + last)
    update(database, START + timedelta(days=6))
    rows = rows_of(database, "coin_sentiment", "coin_symbol, mentions, hi - lo", "NOT final AND bucket = 'hour'")
    (_, few, wide), (_, many, narrow), (_, copies, as_wide) = rows
    assert (few, many, copies) == (3, 12, 6)
    (market,) = rows_of(database, "fear_greed_index", "stance_hi - stance_lo", "NOT final AND bucket = 'hour'")
    assert market[0] < narrow < min(wide, as_wide)


def test_a_coin_that_a_bucket_no_longer_names_says_so(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, [replace(p, coins=("GONE",)) for p in steady_posts(12)] + shifted_posts(12))
    now = START + timedelta(hours=12)
    update(database, now)
    with database.write() as connection:
        connection.execute("UPDATE thread_ops SET spam_score = 1 WHERE thread_id <= 12")
    update(database, now + timedelta(minutes=1), full=True)
    key = "coin_symbol, bucket, bucket_start"
    gone = rows_of(database, CURRENT.format(table="coin_sentiment", key=key), "mentions, score", "final")
    assert len(gone) == 12
    assert set(gone) == {(0, None)}
    assert update(database, now + timedelta(minutes=2), full=True).new_coin_readings == 0


def test_a_days_row_is_the_hours_row_at_midnight(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, random_posts(seed=12, days=7, per_day=50))
    update(database, START + timedelta(days=7))
    columns = "value, lo, hi, label, stance, state, n, n_eff, coverage, knowable_at"
    days = rows_of(database, "fear_greed_index", f"bucket_start, {columns}", "final AND bucket = 'day'")
    midnight = "final AND bucket = 'hour' AND hour(bucket_start) = 23"
    hours = rows_of(database, "fear_greed_index", f"bucket_start - INTERVAL 23 HOUR, {columns}", midnight)
    assert len(days) == 7
    assert days == hours


def test_another_model_version_starts_its_own_series(tmp_path):
    database = new_database(tmp_path)
    made = random_posts(seed=4, days=7, per_day=50)
    store_posts(database, made)
    now = START + timedelta(days=7)
    update(database, now)
    with database.write() as connection:
        connection.execute(
            "INSERT INTO scored_posts BY NAME "
            "SELECT * REPLACE ('test-2' AS model_version, -score AS score) FROM scored_posts"
        )
    half_scored = update(database, now + timedelta(minutes=1), model="test-2")
    assert (half_scored.new_readings, half_scored.readings) == (0, None)
    with database.write() as connection:
        connection.execute("UPDATE thread_ops SET sentiment_model_version = 'test-2'")
    switched = update(database, now + timedelta(minutes=1), model="test-2")
    assert switched.new_readings == 7 * 24 + 7
    rows = rows_of(database, CURRENT.format(table="fear_greed_index", key="bucket, bucket_start"), "model_version")
    assert set(rows) == {("test-2",)}
    assert update(database, now + timedelta(minutes=2), model="test-2").new_readings == 0


def test_old_posts_do_not_make_a_young_installations_ticks_look_at_years(tmp_path):
    database = new_database(tmp_path)
    old = [replace(post, thread_id=10_000 + k, cluster_id=None) for k, post in enumerate(random_posts(4, 3, 30))]
    old = [replace(post, posted_at=post.posted_at - timedelta(days=300), looks=()) for post in old]
    store_posts(database, old, polled=False)
    store_posts(database, random_posts(seed=5, days=2, per_day=60))
    now = START + timedelta(days=2, minutes=5)
    assert len(update(database, now).readings.ends) > 290 * 24
    tick = update(database, now + timedelta(hours=1))
    assert len(tick.readings.ends) < 8 * 24
    assert tick.new_readings == 1
    assert update(database, now + timedelta(hours=1, minutes=1), full=True).new_readings == 0


def test_nothing_scored_is_nothing_published(tmp_path):
    database = new_database(tmp_path)
    assert update(database, START).readings is None
    assert rows_of(database, "fear_greed_index") == []


def test_clusters_do_not_depend_on_the_order_in_which_posts_were_found(tmp_path):
    copy = "this coin is going to the moon and you will be left behind, buy it while you can"
    texts = [copy if k % 3 else sha256(bytes(k)).hexdigest() for k in range(40)]
    database = new_database(tmp_path)
    found = [(k + 1, START + timedelta(hours=11 * k), text) for k, text in enumerate(texts)]
    for part in (found[20:30], found[:7], found[30:], found[7:20]):
        with database.write() as connection:
            connection.executemany(
                "INSERT INTO thread_ops (thread_id, posted_at, op_text_clean, source, ingested_at, text_known_at) "
                "VALUES (?, ?, ?, 'live', now()::TIMESTAMP, now()::TIMESTAMP)",
                part,
            )
        assert assign_clusters(database, batch=6) > 0
    clusters = dict(rows_of(database, "thread_ops", "thread_id, cluster_id"))
    assert all(clusters[k + 1] == (2 if k % 3 else k + 1) for k in range(40))
    assert assign_clusters(database) == 0


def test_thinned_observations_and_polls_change_no_reading(tmp_path):
    database = new_database(tmp_path)
    made = [with_many_looks(post) for post in random_posts(seed=8, days=12, per_day=30)]
    store_posts(database, made)
    with database.write() as connection:
        connection.execute(
            "INSERT INTO catalog_snapshots (snapshot_at, not_modified) "
            "SELECT snapshot_at + INTERVAL 7 MINUTE, TRUE FROM catalog_snapshots"
        )
    now = START + timedelta(days=12)
    assert update(database, now, full=True).new_readings > 200
    thin = KEEP_ALL.model_copy(update={"observations_full_days": 2, "observations_hourly_days": 4})
    taken = {report.rule: report.rows for report in retention.apply(database, thin, now)}
    assert taken["observations"] > 360 * 10
    assert taken["polls"] > 100
    again = update(database, now + timedelta(minutes=1), full=True)
    assert (again.new_readings, again.new_coin_readings) == (0, 0)


@pytest.mark.slow
def test_what_retention_has_deleted_changes_no_reading_past_or_to_come(tmp_path):
    made = random_posts(seed=9, days=34, per_day=40)
    first, end = START + timedelta(days=30, hours=3), START + timedelta(days=34)
    late = [MadePost(9000 + k, START + timedelta(days=28, minutes=k), 1.0, 0.0, coins=("BTC",)) for k in range(30)]
    (tmp_path / "whole").mkdir()
    forgetful, whole = new_database(tmp_path), new_database(tmp_path / "whole")
    for database in (forgetful, whole):
        store_posts(database, [post for post in made if post.posted_at <= first])
        update(database, first, full=True)
    taken = retention.apply(forgetful, KEEP_ALL.model_copy(update={"threads_days": 16}), first)
    assert taken[0].rows > 500
    again = update(forgetful, first + timedelta(minutes=1), full=True)
    assert (again.new_readings, again.new_coin_readings) == (0, 0)
    corrected = []
    for database in (forgetful, whole):
        store_posts(database, [post for post in made if post.posted_at > first] + late)
        update(database, end - timedelta(hours=5))
        corrected.append(update(database, end, full=True))
    assert corrected[0].new_readings == corrected[1].new_readings >= 24
    assert_same(market_rows(forgetful), market_rows(whole), {2, 3, 4, 6}, {0, 1, 5, 7, 8, 11}, 1e-5)
    assert_same(coin_rows(forgetful), coin_rows(whole), {3, 5}, {0, 1, 2, 4, 8}, 1e-6)


class Interrupted(DatabaseFile):
    """Whose first writer has to wait for a turn of retention."""

    writes = 0
    policy: RetentionSettings
    now: datetime

    @contextmanager
    def write(self):
        Interrupted.writes += 1
        if Interrupted.writes == 1:
            taken = retention.apply(DatabaseFile(self.path), self.policy, self.now)
            assert taken[0].rows > 500
        with super().write() as connection:
            yield connection


def test_retention_in_the_middle_of_a_full_update_changes_no_reading(tmp_path):
    database = new_database(tmp_path)
    now = START + timedelta(days=34)
    store_posts(database, random_posts(seed=9, days=34, per_day=40))
    update(database, now, full=True)
    published = market_rows(database)
    interrupted = Interrupted(database.path)
    Interrupted.writes, Interrupted.now = 0, now
    Interrupted.policy = KEEP_ALL.model_copy(update={"threads_days": 16})
    assert update(interrupted, now + timedelta(minutes=1), full=True).new_readings == 0
    assert [row for row in market_rows(database) if row in published] == published
    assert update(database, now + timedelta(minutes=2), full=True).new_readings == 0


def test_another_model_begins_after_what_retention_has_deleted(tmp_path):
    database = new_database(tmp_path)
    made = random_posts(seed=10, days=30, per_day=30)
    popular = MadePost(1, START + timedelta(hours=1), 1.0, 0.0)
    store_posts(database, [popular, *made])
    now = START + timedelta(days=30)
    with database.write() as connection:
        connection.execute("UPDATE thread_ops SET reply_count = 99 WHERE thread_id = 1")
    retention.apply(database, KEEP_ALL.model_copy(update={"threads_days": 20}), now)
    update(database, now, full=True)
    assert rows_of(database, "thread_ops", "count(*)", f"posted_at < '{START + timedelta(days=10)}'") == [(1,)]
    whole_from = START + timedelta(days=15)  # ten days are gone, and the filters look back for four and some hours
    assert rows_of(database, "fear_greed_index", "min(bucket_start)") == [(whole_from,)]
    assert update(database, now + timedelta(minutes=1), full=True).new_readings == 0


KEEP_ALL = RetentionSettings(
    html_days=0, observations_full_days=0, observations_hourly_days=0, threads_days=0, image_days=0, price_days=0
)


def with_many_looks(post):
    """Looked at every seven minutes for four hours, so that many looks lie about each moment that counts."""
    looks = tuple((post.posted_at + timedelta(minutes=7 * k), k * (post.thread_id % 5)) for k in range(1, 35))
    return replace(post, looks=looks)


def shifted_posts(count):
    return [replace(p, thread_id=p.thread_id + 100) for p in steady_posts(count)]


def steady_posts(count):
    return [MadePost(1 + k, START + timedelta(hours=1, minutes=2 * k), 0.3, 0.5) for k in range(count)]


def test_a_row_is_knowable_when_the_archive_day_that_it_rests_on_was_fetched(tmp_path):
    database = new_database(tmp_path)
    made = random_posts(seed=13, days=4, per_day=60)
    silent = START + timedelta(days=1), START + timedelta(days=2)
    store_posts(database, [p for p in made if not silent[0] <= p.posted_at < silent[1]])
    fetched = START + timedelta(days=3, hours=2)
    polled = [START + timedelta(hours=hour, minutes=30) for hour in range(4 * 24) if not 24 <= hour < 48]
    with database.write() as connection:  # the outage's day, and one that was polled in any case
        connection.executemany(
            "INSERT INTO catalog_snapshots (snapshot_at, not_modified) VALUES (?, TRUE)", [[at] for at in polled]
        )
        connection.execute(
            "INSERT INTO warosu_days (day, complete, fetched_at) VALUES (?, TRUE, ?), (?, TRUE, ?)",
            [silent[0].date(), fetched, START.date(), START + timedelta(days=9)],
        )
    update(database, START + timedelta(days=4), full=True)
    rows = rows_of(database, "fear_greed_index", "bucket_start, knowable_at, coverage", "final AND bucket = 'hour'")
    begun = next(start for start, _, _ in rows)
    assert begun < silent[0]
    for start, knowable_at, coverage in rows:
        end = start + timedelta(hours=1)
        assert coverage == 1 or start < silent[0]
        assert knowable_at == (end if start < silent[0] else max(end, fetched))


def test_rows_of_the_earlier_method_stay_and_are_computed_again(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, random_posts(seed=13, days=8, per_day=60))
    now = START + timedelta(days=8)
    update(database, now, full=True)
    with database.write() as connection:  # as the database of an earlier version is after its migration
        connection.execute("UPDATE fear_greed_index SET method = NULL, stance = stance / 2, history_days = NULL")
        connection.execute("UPDATE coin_sentiment SET method = NULL, score = score / 2")
        connection.execute("DELETE FROM index_states")
    old = rows_of(database, "fear_greed_index", where="final")
    upgraded = update(database, now + timedelta(minutes=5))
    assert upgraded.new_readings == len(old)
    assert set(old) < set(rows_of(database, "fear_greed_index", where="final"))
    current = CURRENT.format(table="fear_greed_index", key="bucket, bucket_start")
    assert rows_of(database, current, "DISTINCT method") == [("filter-3",)]
    assert update(database, now + timedelta(minutes=6), full=True).new_readings == 0


def test_without_a_stored_state_a_tick_computes_everything_again(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, random_posts(seed=14, days=6, per_day=50))
    now = START + timedelta(days=6, minutes=5)
    update(database, now)
    states = rows_of(database, "index_states", "* EXCLUDE figures")
    assert {row[2] for row in states} == {START + timedelta(days=day) for day in range(1, 7)}
    with database.write() as connection:
        connection.execute("DELETE FROM index_states")
    assert update(database, now + timedelta(minutes=1)).new_readings == 0
    assert rows_of(database, "index_states", "* EXCLUDE figures") == states
