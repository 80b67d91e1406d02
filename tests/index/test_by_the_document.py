"""The published rows are what the document says: a second implementation, and what no second look may change."""

from dataclasses import fields, replace
from datetime import timedelta

import numpy as np
import pytest
from by_the_document import Index
from index_world import MODEL, QUICK, START, new_database, random_posts, rows_of, store_posts

from bizcharts_pipeline.index import store
from bizcharts_pipeline.index.series import rebuild
from bizcharts_pipeline.index.stretch import MarketReadings, State
from bizcharts_pipeline.index.update import update_index
from bizcharts_pipeline.index.votes import DAY, HOUR, to_us

EXACT = {"rel": 1e-9, "abs": 1e-9}
DAYS = 11
BEGIN = to_us(START)
COLUMNS = (
    "stance", "stance_lo", "stance_hi", "raw_stance", "n", "n_eff", "state", "value", "lo", "hi", "label",
    "history_days", "coverage",
)  # fmt: skip


def world(days: int = DAYS):
    """Copies that go on, looks at replies, an outage, a coin that is seldom named."""
    made = random_posts(seed=21, days=days, per_day=45)
    silent = (START + timedelta(days=6), START + timedelta(days=8))
    return [replace(p, coins=(*p.coins, "RARE") if p.thread_id % 97 == 0 else p.coins) for p in made
            if not silent[0] < p.posted_at < silent[1]]  # fmt: skip


def update(database, now, **more):
    update_index(database, model_version=MODEL, now=now, parameters=QUICK, **more)


def test_a_second_implementation_from_the_document_agrees(tmp_path):
    database, end = new_database(tmp_path), START + timedelta(days=DAYS)
    store_posts(database, world())
    update(database, end + timedelta(minutes=10), full=True)
    with database.read() as connection:
        expected = Index(
            lambda sql: connection.execute(sql).fetchall(), MODEL, end, QUICK.minimum_history_days, QUICK.history_days,
            QUICK.no_reading_below,
        )  # fmt: skip
    published = rows_of(
        database, "fear_greed_index", f"epoch(bucket_start) + 3600, {', '.join(COLUMNS)}", "final AND bucket = 'hour'"
    )
    assert len(published) == len(expected.rows) > 200
    states = set()
    for (at, *row), theirs in zip(published, expected.rows, strict=True):
        assert at == theirs["at"]
        states.add(theirs["state"])
        for name, mine in zip(COLUMNS, row, strict=True):
            assert mine == (pytest.approx(theirs[name], **EXACT) if isinstance(mine, float) else theirs[name]), (
                at,
                name,
            )
    assert states == {"no reading", "calibrating", "thin", "normal"}
    coins = rows_of(
        database, "coin_sentiment", "coin_symbol, epoch(bucket_start) + 3600, mentions, n_eff, score, lo, hi",
        "final AND bucket = 'hour'",
    )  # fmt: skip
    expected.coin_rows.sort()
    assert len(coins) == len(expected.coin_rows) > 1000
    for mine, other in zip(coins, expected.coin_rows, strict=True):
        assert mine[:3] == other[:3]
        assert mine[3:] == pytest.approx(other[3:], **EXACT), mine[:2]


def test_twenty_cuts_in_time_change_nothing_before(tmp_path):
    database = new_database(tmp_path)
    store_posts(database, world())

    def read(until: int):
        with database.read() as connection:
            posts = store.load_posts(connection, MODEL, BEGIN - DAY, until, QUICK, [])
            found = (posts, store.load_mentions(connection), store.load_coverage(connection, BEGIN - DAY, until))
        return rebuild(*found, State.nothing(BEGIN), until, QUICK, running=False)

    whole = read(BEGIN + DAYS * DAY)
    for cut in range(20):
        market = (part := read(BEGIN + DAY + cut * (12 * HOUR - 7 * HOUR // 60))).market
        hours = slice(len(market.ends))
        for name in [field.name for field in fields(MarketReadings) if field.name != "provisional"]:
            np.testing.assert_array_equal(getattr(market, name), getattr(whole.market, name)[hours], err_msg=name)
        of_coins = whole.coins.reading < len(market.ends)
        named = np.array(whole.symbols)[whole.coins.coin[of_coins]]
        assert np.array(part.symbols)[part.coins.coin].tolist() == named.tolist()
        for name in ("reading", "mentions", "n_eff", "score", "lo", "hi"):
            mine, other = getattr(part.coins, name), getattr(whole.coins, name)[of_coins]
            np.testing.assert_allclose(mine, other, rtol=1e-12, atol=1e-12, err_msg=name)


@pytest.mark.slow
def test_ticks_and_a_full_run_give_the_same_values(tmp_path):
    made, columns = world(), ", ".join(COLUMNS)
    ticking, whole = new_database(tmp_path / "ticks"), new_database(tmp_path / "whole")
    begin = START + timedelta(days=5, minutes=10)
    store_posts(ticking, [p for p in made if p.posted_at <= begin])
    update(ticking, begin, full=True)
    known, now = begin, begin
    while now < START + timedelta(days=DAYS):
        now += timedelta(hours=13)
        store_posts(ticking, [p for p in made if known < p.posted_at <= now])
        known = now
        update(ticking, now)
    store_posts(whole, [p for p in made if p.posted_at <= now])
    update(whole, now, full=True)
    for table, names in (
        ("fear_greed_index", f"bucket, bucket_start, final, {columns}"),
        ("coin_sentiment", "coin_symbol, bucket, bucket_start, final, mentions, n_eff, score, lo, hi"),
    ):
        ours, theirs = rows_of(ticking, table, names), rows_of(whole, table, names)
        assert len(ours) == len(theirs) > 150
        for mine, other in zip(ours, theirs, strict=True):
            assert mine == tuple(pytest.approx(x, rel=1e-12, abs=1e-12) if isinstance(x, float) else x for x in other)
    assert len(rows_of(ticking, "index_states", 'DISTINCT "at"')) <= 9
