"""What moved the stance between two moments, from a real database: published numbers, models, retention, as of."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest
from index_world import MODEL, QUICK, START, MadePost, new_database, random_posts, rows_of, store_posts, update

from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.moved import Change, explain_change
from bizcharts_pipeline.index.moved_store import ChangeNotExplained
from bizcharts_pipeline.index.moved_words import missing_in_words
from bizcharts_pipeline.settings import RetentionSettings
from bizcharts_pipeline.warehouse import retention
from bizcharts_pipeline.warehouse.database import Database

EXACT = 1e-9
DAYS = 16
END = START + timedelta(days=DAYS)
OTHER = "test-2"


def world(seed: int = 31) -> list[MadePost]:
    made = random_posts(seed, DAYS, 40)
    return [replace(post, general=("xmr", "", "")[post.thread_id % 3]) for post in made]


def stored(folder: Path, made: list[MadePost], now: datetime = END + timedelta(minutes=5)) -> Database:
    database = new_database(folder)
    store_posts(database, made)
    update(database, now)
    return database


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> Database:
    return stored(tmp_path_factory.mktemp("world"), world())


def explain(database: Database, start: datetime, end: datetime, **more: object) -> Change:
    return explain_change(database, start, end, QUICK, [], lambda _, model: Prior() if model == MODEL else None, **more)  # type: ignore[arg-type]


def published(database: Database, end: datetime, pick: str = "max") -> float:
    """The stance of the hour that ends at ``end``: of its newest vintage, or its oldest."""
    rows = rows_of(
        database,
        "fear_greed_index",
        f"arg_{pick}(stance, computed_at)",
        f"bucket = 'hour' AND final AND bucket_start = '{end - timedelta(hours=1)}'",
    )
    return float(rows[0][0])


def check_sums(change: Change) -> None:
    assert sum(part.effect for part in change.parts) == pytest.approx(change.change, abs=EXACT)
    for view in (change.coins, change.generals, change.scorers):
        assert sum(part.effect for part in view) + change.rest == pytest.approx(change.change, abs=EXACT)


def test_both_ends_are_the_published_stances_and_every_view_adds_up_to_the_change(database: Database) -> None:
    for back, hours in ((0, 24), (5, 1), (30, 60)):
        end = END - timedelta(hours=back)
        start = end - timedelta(hours=hours)
        change = explain(database, start, end)
        assert change.stance_from == pytest.approx(published(database, start), abs=EXACT)
        assert change.stance_to == pytest.approx(published(database, end), abs=EXACT)
        check_sums(change)
        assert {part.name for part in change.generals} == {"/xmr/", "no general"}
        assert {part.name for part in change.coins} > {"BTC", "ETH", "no coin"}
        effects = [abs(thread.effect) for thread in change.threads]
        assert effects == sorted(effects, reverse=True)
        assert len(effects) == 10
        assert change.named_from < start


@pytest.mark.slow
def test_the_views_are_sums_over_the_threads_whose_effect_their_coins_share_equally(database: Database) -> None:
    change = explain(database, END - timedelta(hours=9), END, most=10_000)
    assert len(change.threads) == sum(part.threads for part in change.scorers)
    coins: dict[str, float] = {}
    for thread in change.threads:
        for coin in thread.coins or ("no coin",):
            coins[coin] = coins.get(coin, 0) + thread.effect / max(len(thread.coins), 1)
    assert {part.name: part.effect for part in change.coins} == pytest.approx(coins, abs=EXACT)
    generals = {part.name: part.effect for part in change.generals}
    of_xmr = sum(thread.effect for thread in change.threads if thread.general == "xmr")
    assert generals["/xmr/"] == pytest.approx(of_xmr, abs=EXACT)
    kinds = {kind: sum(each.effect for each in change.threads if each.kind == kind) for kind in ("came", "left")}
    assert (kinds["came"], kinds["left"]) == pytest.approx((change.came.effect, change.left.effect), abs=EXACT)


def test_a_moment_within_an_hour_adds_up_too_and_no_time_between_moves_nothing(database: Database) -> None:
    moment = END - timedelta(days=2, minutes=17, seconds=3)
    check_sums(explain(database, moment, moment + timedelta(hours=7, minutes=40)))
    still = explain(database, moment, moment)
    assert [part.effect for part in still.parts] == [0] * 6
    assert (still.change, still.rest) == (0, 0)
    assert not any(thread.effect or thread.without for thread in still.threads)


def test_no_post_after_the_later_moment_enters(database: Database, tmp_path: Path) -> None:
    end = END - timedelta(days=3, minutes=20)
    cut = stored(tmp_path, [post for post in world() if post.posted_at <= end], now=end)
    start = end - timedelta(days=1)
    whole, part = explain(database, start, end), explain(cut, start, end)
    assert whole.stance_from == pytest.approx(part.stance_from, abs=EXACT)
    assert whole.stance_to == pytest.approx(part.stance_to, abs=EXACT)
    assert [thread.thread_id for thread in whole.threads] == [thread.thread_id for thread in part.threads]
    assert all(thread.posted_at <= end for thread in whole.threads)


def test_the_hours_that_were_not_collected_are_said(tmp_path: Path) -> None:
    until = END - timedelta(hours=8)
    cut = new_database(tmp_path)
    store_posts(cut, [post for post in world() if post.posted_at < until], polled=False)
    with cut.write() as connection:
        connection.execute(
            "INSERT INTO catalog_snapshots (snapshot_at, not_modified) SELECT hour + INTERVAL 30 MINUTE, FALSE "
            f"FROM range(TIMESTAMP '{START}', TIMESTAMP '{until}', INTERVAL 1 HOUR) AS hours(hour)"
        )
    update(cut, END)
    change = explain(cut, END - timedelta(hours=24), END)
    assert change.collected == pytest.approx(16 / 24)
    assert "Only 67% of the hours between" in str(missing_in_words(change))
    before = explain(cut, END - timedelta(hours=24), until)
    assert (before.collected, missing_in_words(before)) == (1, None)
    assert explain(cut, until, until).collected is None


@pytest.mark.slow
def test_as_of_leaves_out_what_was_stored_later(tmp_path: Path) -> None:
    start, end = END - timedelta(days=2), END - timedelta(days=1)
    late = [post for post in world() if start < post.posted_at <= end and post.thread_id % 4 == 0]
    others = [post for post in world() if post not in late]
    database = stored(tmp_path / "late", [post for post in others if post.posted_at <= end], now=end)
    store_posts(database, [post for post in others if post.posted_at > end])
    store_posts(database, [replace(post, ingested_at=END) for post in late])
    update(database, END)
    cut = stored(tmp_path / "cut", others)
    then, without, now = (
        explain(database, start, end, as_of=end),
        explain(cut, start, end),
        explain(database, start, end),
    )
    check_sums(then)
    assert then.stance_to == pytest.approx(without.stance_to, abs=EXACT)
    assert abs(now.stance_to - without.stance_to) > 1e-4
    assert [(part.name, part.threads) for part in then.coins] == [(part.name, part.threads) for part in without.coins]
    assert not {thread.thread_id for thread in then.threads} & {post.thread_id for post in late}
    with pytest.raises(ChangeNotExplained, match="was known"):
        explain(database, start, end, as_of=end - timedelta(hours=1))


def test_as_of_is_refused_where_the_filters_state_has_posts_of_later(tmp_path: Path) -> None:
    made, end = world(), END - timedelta(days=1)
    database = stored(tmp_path, [*made[:50], *(post for post in made[51:] if post.posted_at <= end)], now=end)
    assert explain(database, end - timedelta(days=1), end, as_of=end).change
    store_posts(database, [replace(made[50], ingested_at=END)])
    with pytest.raises(ChangeNotExplained, match="came here after"):
        explain(database, end - timedelta(days=1), end, as_of=end)


@pytest.mark.slow
def test_leaving_a_thread_out_equals_an_index_that_never_saw_it(database: Database, tmp_path: Path) -> None:
    start = END - timedelta(days=1)
    change = explain(database, start, END, most=3)
    for number, thread in enumerate(change.threads):
        fewer = stored(tmp_path / str(number), [post for post in world() if post.thread_id != thread.thread_id])
        real = change.change - (published(fewer, END) - published(fewer, start))
        assert thread.without == pytest.approx(real, abs=EXACT)
        assert np.sign(thread.effect) == np.sign(thread.without)
        assert thread.effect != pytest.approx(thread.without, abs=EXACT)  # the linear figure is another one
        assert thread.effect == pytest.approx(thread.without, rel=0.5)


def test_a_switch_of_the_model_is_a_term_of_its_own(tmp_path: Path) -> None:
    start = END - timedelta(days=1)
    made = world()
    database = stored(tmp_path, [post for post in made if post.posted_at <= start], now=start - timedelta(hours=1))
    update(database, start + timedelta(minutes=5))
    store_posts(database, [post for post in made if post.posted_at > start])
    with database.write() as connection:
        connection.execute(
            f"INSERT INTO scored_posts SELECT * REPLACE ('{OTHER}' AS model_version, score / 2 + 0.2 AS score) "
            "FROM scored_posts"
        )
    for now in (END - timedelta(hours=2), END + timedelta(minutes=5)):
        update(database, now, OTHER)
    change = explain(database, start, END)
    assert (change.model_from, change.model_to) == (MODEL, OTHER)
    assert change.stance_from == pytest.approx(published(database, start, "min"), abs=EXACT)
    assert change.stance_to == pytest.approx(published(database, END), abs=EXACT)
    switched = published(database, start) - published(database, start, "min")
    assert abs(switched) > 0.05
    assert change.model.effect == pytest.approx(switched, abs=EXACT)
    check_sums(change)
    assert explain(database, END - timedelta(hours=1), END).model.effect == 0


def test_what_retention_deleted_is_within_the_state_and_moments_before_are_refused(tmp_path: Path) -> None:
    database = stored(tmp_path, world())
    start = END - timedelta(days=1)
    whole = explain(database, start, END)
    policy = RetentionSettings().model_copy(update={"threads_days": 9, "popular_replies": 10_000})
    retention.apply(database, policy, END + timedelta(hours=1))
    assert min(rows_of(database, "thread_ops", "min(posted_at)"))[0] > START + timedelta(days=6)
    kept = explain(database, start, END)
    check_sums(kept)
    assert kept.stance_from == pytest.approx(whole.stance_from, abs=EXACT)
    assert kept.stance_to == pytest.approx(whole.stance_to, abs=EXACT)
    with pytest.raises(ChangeNotExplained, match="choose a later moment"):
        explain(database, START + timedelta(days=3), END)
    assert kept.named_from > START + timedelta(days=7 + 4)  # no window of the state reaches a deleted post


def test_a_series_without_a_stored_state_begins_with_its_models_prior(tmp_path: Path) -> None:
    now = START + timedelta(hours=20)
    database = stored(tmp_path, [p for p in world() if p.posted_at <= now], now=now + timedelta(minutes=5))
    start = now - timedelta(hours=6)
    change = explain(database, start, now)
    check_sums(change)
    assert change.stance_to == pytest.approx(published(database, now), abs=EXACT)
    with pytest.raises(ChangeNotExplained, match="no state of the filters"):
        explain_change(database, start, now, QUICK, [], lambda _, model: None)


def test_bad_moments_are_refused_in_words(database: Database) -> None:
    with pytest.raises(ChangeNotExplained, match="give the earlier moment first"):
        explain(database, END, END - timedelta(hours=1))
    with pytest.raises(ChangeNotExplained, match="more than 366 days"):
        explain(database, END - timedelta(days=400), END)
    with pytest.raises(ChangeNotExplained, match="the first ends at 2025-01-01 01:00"):
        explain(database, START - timedelta(days=2), END)


def test_what_the_board_deleted_has_no_words(database: Database) -> None:
    def first() -> tuple[str | None, str | None]:
        thread = explain(database, END - timedelta(days=1), END, most=1).threads[0]
        return thread.subject, thread.text

    thread = explain(database, END - timedelta(days=1), END, most=1).threads[0].thread_id
    with database.write() as connection:
        connection.execute(f"UPDATE thread_ops SET subject = 'moon', op_text_clean = 'soon' WHERE thread_id = {thread}")
    assert first() == ("moon", "soon")
    with database.write() as connection:
        connection.execute(f"INSERT INTO thread_fates VALUES ({thread}, 'deleted', '{END}')")
    assert first() == (None, None)
