"""Generals, signs of shilling and groups of copies, on posts with a known answer in a real database."""

import math
from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from index_world import QUICK, START, MadePost, new_database, random_posts, store_posts, update

from bizcharts_pipeline.index.copypasta import CopyGroup, copy_groups
from bizcharts_pipeline.index.generals import generals
from bizcharts_pipeline.index.recent import RecentPosts, load_recent
from bizcharts_pipeline.index.shilling import CoinSigns, coin_signs
from bizcharts_pipeline.warehouse.database import Database

NOW = START + timedelta(days=10)
DAY, HOUR, MINUTE = timedelta(days=1), timedelta(hours=1), timedelta(minutes=1)
CERTAIN = 0.9


def post(number: int, before: timedelta, score: float = 0.5, **more: object) -> MadePost:
    """A post made ``before`` the present."""
    up, down = max(score, 0.0), max(-score, 0.0)
    return MadePost(number, NOW - before, up, down, **more)  # type: ignore[arg-type]


def stored(folder: Path, made: Iterable[MadePost]) -> Database:
    database = new_database(folder)
    store_posts(database, sorted(made, key=lambda one: one.posted_at))
    update(database, NOW)
    return database


def loaded(database: Database, length: timedelta = DAY, **more: object) -> RecentPosts:
    with database.read() as connection:
        found = load_recent(connection, length, QUICK, more.get("as_of"))  # type: ignore[arg-type]
    assert found
    return found


def test_a_general_has_its_threads_their_share_and_their_mood(tmp_path: Path) -> None:
    looks = ((NOW - 2 * HOUR, 10),)
    made = [
        post(1, 3 * HOUR, 0.5, general="smg", looks=looks),
        post(2, 4 * HOUR, -0.5, general="xmr"),
        post(3, 5 * HOUR, -0.5, general="xmr"),
        post(4, 6 * HOUR, 0.1),
        post(5, 7 * DAY, 0.1, general="old"),
        post(6, 2 * HOUR, 0.1, general="xmr", spam=0.9),
    ]
    xmr, smg, others = generals(loaded(stored(tmp_path, made)), {"smg"}, 0.9)
    assert (xmr.name, xmr.threads, xmr.share, xmr.replies, xmr.counts) == ("xmr", 2, 0.5, 0, True)
    assert (smg.name, smg.threads, smg.share, smg.replies, smg.counts) == ("smg", 1, 0.25, 10, False)
    assert (others.name, others.threads) == ("", 1)
    assert (xmr.newest_at, smg.newest_at) == (NOW - 4 * HOUR, NOW - 3 * HOUR)
    assert xmr.mood.stance == pytest.approx(-0.5)
    assert (xmr.mood.n_eff, xmr.mood.posts) == (pytest.approx(2), 2)
    assert smg.mood.lo <= 0.5 <= smg.mood.hi  # type: ignore[operator]


def signs_of(database: Database, excluded: Iterable[str] = ()) -> dict[str, CoinSigns]:
    return {each.coin_symbol: each for each in coin_signs(loaded(database), list(excluded), 0.9)}


def test_what_is_said_of_a_coin_by_copies_shared_pictures_and_shared_links_is_told_from_the_rest(
    tmp_path: Path,
) -> None:
    made = [
        # Two honest posts, one of which shares a common host with many.
        post(1, 10 * HOUR, -0.4, coins=("LINK",), text="see https://youtube.com/watch?v=1"),
        post(2, 9 * HOUR, -0.4, coins=("LINK",), text="see https://www.youtube.com/watch?v=2"),
        # A text posted twice: the first one is no copy.
        post(3, 8 * HOUR, -0.4, coins=("LINK",), cluster_id=3),
        post(4, 7 * HOUR, 0.8, coins=("LINK",), cluster_id=3),
        # One picture in three posts, one host in three.
        *(post(10 + n, (6 - n) * HOUR, 0.8, coins=("LINK",), image="same") for n in range(3)),
        *(post(20 + n, (3 - n / 2) * HOUR, 0.8, coins=("LINK",), text=f"http://a.pump.io/{n}") for n in range(3)),
        # Advertisements do not count, but are told; neither do excluded generals, nor what is older.
        post(30, HOUR, 0.9, coins=("LINK",), spam=0.9),
        post(31, HOUR, 0.9, coins=("LINK",), general="smg"),
        post(32, 3 * DAY, 0.9, coins=("LINK",)),
        # The same picture or host with another coin, or only twice, is no sign.
        *(post(40 + n, 2 * HOUR, 0.1, coins=("ETH",), image="other", text="https://b.io") for n in range(2)),
        post(42, 2 * HOUR, 0.1, coins=("BTC",), image="other", text="https://b.io"),
    ]
    found = signs_of(stored(tmp_path, made), ["smg"])
    link = found["LINK"]
    assert (link.posts, link.adverts, link.share) == (10, 1, pytest.approx(10 / 13))
    assert (link.copies, link.same_picture, link.same_host, link.suspected) == (1, 3, 3, 7)
    assert link.without.posts == 3
    assert link.without.stance == pytest.approx(-0.4)
    assert link.mood.stance is not None
    assert link.mood.stance > 0.2
    assert (found["ETH"].suspected, found["BTC"].suspected) == (0, 0)
    assert next(iter(found)) == "LINK"


def test_a_coin_of_whose_posts_all_are_suspected_has_no_other_mood(tmp_path: Path) -> None:
    made = [post(n, n * MINUTE, 0.8, coins=("SOL",), image="same") for n in range(1, 5)]
    sol = signs_of(stored(tmp_path, made))["SOL"]
    assert (sol.suspected, sol.without.posts, sol.without.stance, sol.without.lo) == (4, 0, None, None)


def groups_of(database: Database, **more: object) -> list[CopyGroup]:
    return copy_groups(loaded(database, 7 * DAY, **more), {"smg"}, 10)


def test_a_raid_weighs_what_its_discount_leaves_and_is_told_from_copies_over_days(tmp_path: Path) -> None:
    made = [
        *(post(100 + n, 20 * HOUR - n * 5 * MINUTE, 0.8, cluster_id=100, coins=("LINK",)) for n in range(8)),
        *(post(200 + n, (6 - n) * DAY, 0.1, cluster_id=200 + n // 3 * 3, general="smg") for n in range(3)),
        *(post(300 + n, n * HOUR, 0.1) for n in range(1, 9)),
    ]
    raid, general = groups_of(stored(tmp_path, made))
    assert (raid.first_post, raid.posts, raid.most_in_an_hour, raid.coins) == (100, 8, 8, ("LINK",))
    assert raid.raid
    assert raid.stance == pytest.approx(0.8)
    assert raid.lost == pytest.approx(1 - (1 + math.log(8)) / 8)
    assert (raid.first_at, raid.last_at) == (NOW - 20 * HOUR, NOW - 20 * HOUR + 35 * MINUTE)
    assert (general.first_post, general.posts, general.most_in_an_hour, general.general) == (200, 3, 1, "smg")
    assert not general.raid
    assert not general.counts
    # Each of them came a day after the last one, so the one two days before is forgotten.
    assert general.lost == pytest.approx(1 - (1 + 2 * math.log(2)) / 3)


def test_as_of_a_moment_the_answer_is_that_of_a_database_which_ended_then(tmp_path: Path) -> None:
    made = [
        replace(
            one,
            general=("xmr", "smg", "")[one.thread_id % 3],
            image=f"picture {one.thread_id % 5}",
            text=f"https://host{one.thread_id % 4}.io",
            spam=0.9 if one.thread_id % 11 == 0 else 0.0,
            ingested_at=one.posted_at + (3 * DAY if one.thread_id % 7 == 0 else timedelta(0)),
            looks=(),
        )
        for one in random_posts(5, 12, 40)
    ]
    then = START + timedelta(days=8, hours=5)
    whole, cut = new_database(tmp_path / "whole"), new_database(tmp_path / "cut")
    store_posts(cut, [one for one in made if (one.ingested_at or one.posted_at) <= then])
    store_posts(whole, made)
    for database, until in ((cut, then), (whole, then), (whole, START + timedelta(days=12))):
        update(database, until)
    known, expected = loaded(whole, 3 * DAY, as_of=then), loaded(cut, 3 * DAY)
    assert generals(known, {"smg"}, 0.9) == generals(expected, {"smg"}, 0.9)
    assert coin_signs(known, {"smg"}, 0.9) == coin_signs(expected, {"smg"}, 0.9)
    assert copy_groups(known, {"smg"}, 50) == copy_groups(expected, {"smg"}, 50)
    assert any(each.suspected for each in coin_signs(known, {"smg"}, 0.9))


def test_without_a_reading_there_is_nothing_to_show(tmp_path: Path) -> None:
    with new_database(tmp_path).write() as connection:
        assert load_recent(connection, DAY, QUICK, None) is None
