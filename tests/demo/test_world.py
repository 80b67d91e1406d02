"""The simulated board behaves as a board, and its hidden mood shows in what is posted."""

import html
import json
import re
from collections import Counter, defaultdict
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest

from bizcharts_pipeline.board.client import parse_catalog
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.demo.mood import class_probabilities
from bizcharts_pipeline.demo.world import World

START = datetime(2026, 1, 1)
DAYS = 30


@pytest.fixture(scope="module")
def world() -> World:
    return World(5, START, DAYS)


def read(world: World, moment: datetime) -> list[SourceThread]:
    catalog = parse_catalog(json.dumps(world.catalog(moment)).encode(), board="biz", image_url="https://i.example")
    assert (catalog.problems, catalog.rejected) == ((), 0)
    return list(catalog.threads)


def test_everything_follows_from_the_seed_in_whatever_order_it_is_asked(world: World) -> None:
    moment = START + timedelta(days=3, hours=7)
    again = World(5, START, DAYS)
    later = again.catalog(moment + timedelta(days=2))
    assert again.catalog(moment) == world.catalog(moment)
    assert world.catalog(moment + timedelta(days=2)) == later
    assert World(6, START, DAYS).catalog(moment) != world.catalog(moment)


def test_the_catalogue_has_the_boards_shape_from_the_first_moment_on(world: World) -> None:
    for moment in (START, START + timedelta(days=9, hours=8, minutes=1)):
        pages = world.catalog(moment)
        assert [page["page"] for page in pages] == list(range(1, 11))
        assert {len(page["threads"]) for page in pages} == {15}
        entries = [entry for page in pages for entry in page["threads"]]
        assert [entry.get("sticky") for entry in entries] == [1] + [None] * 149
        assert len({entry["no"] for entry in entries}) == 150
        bumped = [entry["last_modified"] for entry in entries[1:] if entry["bumplimit"] == 0]
        assert bumped == sorted(bumped, reverse=True)
        for entry in entries:
            shown = entry.get("last_replies", [])
            assert entry["replies"] == entry.get("omitted_posts", 0) + len(shown)
            assert all(entry["time"] <= reply["time"] <= to_epoch(moment) for reply in shown)


@pytest.mark.slow
def test_counts_never_go_down_and_what_has_sunk_never_comes_back(world: World) -> None:
    counts: dict[int, int] = {}
    present: set[int] = set()
    gone: set[int] = set()
    for step in range(4 * 24 * 2):
        threads = read(world, START + timedelta(days=2, minutes=15 * step))
        now = {thread.thread_id for thread in threads}
        assert not now & gone
        gone |= present - now
        present = now
        for thread in threads:
            assert (thread.reply_count or 0) >= counts.get(thread.thread_id, 0)
            counts[thread.thread_id] = thread.reply_count or 0
    assert len(gone) > 400


def test_the_live_board_and_the_archive_tell_of_the_same_threads(world: World) -> None:
    moment = START + timedelta(days=4, hours=5)
    known = {thread.thread_id: thread for thread in world.threads_between(START - timedelta(days=3), moment)}
    for live in read(world, moment)[1:]:
        truth = known[live.thread_id]
        archived = world.as_archive(truth, image_url="https://i.example")
        assert (live.posted_at, live.subject, live.op_html) == (
            truth.posted_at,
            archived.subject,
            archived.op_html,
        )
        assert archived.source == "warosu"
        assert (live.reply_count or 0) <= (archived.reply_count or 0)
        assert live.image_url in (archived.image_url, None) or archived.file_deleted


def test_about_300_threads_come_a_day_fewer_at_night_and_grow_with_a_heavy_tail(world: World) -> None:
    threads = world.threads_between(START, START + timedelta(days=DAYS))
    assert len(threads) / DAYS == pytest.approx(305, abs=12)
    hours = Counter(thread.posted_at.hour for thread in threads)
    assert hours[19] > 2 * hours[7]
    replies = np.array([thread.final_replies for thread in threads])
    assert np.median(replies) < 8 < 12 < replies.mean()
    assert replies.max() > 310
    assert len(World(5, START, 1, threads_per_day=60).threads_between(START, START + timedelta(days=10))) < 800


def test_the_stances_of_posts_follow_the_hidden_mood(world: World) -> None:
    posts = [
        thread
        for thread in world.threads_between(START, START + timedelta(days=DAYS))
        if thread.general is None and thread.raid is None
    ]
    moods = np.array([thread.mood for thread in posts])
    assert moods.min() < -0.5 < 0.5 < moods.max()
    assert [world.mood(thread.posted_at) for thread in posts[:50]] == pytest.approx(moods[:50])
    for low, high in ((-1, -0.3), (-0.3, 0.3), (0.3, 1)):
        band = [thread for thread in posts if low <= thread.mood < high]
        for stance in ("bearish", "neutral", "bullish"):
            expected = np.mean([class_probabilities(thread.mood)[stance] for thread in band])
            assert np.mean([thread.stance == stance for thread in band]) == pytest.approx(expected, abs=0.035)
    assert class_probabilities(0)["neutral"] == 0.5


def test_the_mood_stays_within_its_bounds_and_runs_on_smoothly(world: World) -> None:
    path = [world.mood(START + timedelta(minutes=20 * step)) for step in range(DAYS * 72)]
    assert max(map(abs, path)) < 1
    assert max(abs(later - earlier) for earlier, later in pairwise(path)) < 0.5


@pytest.mark.slow
def test_only_raids_repeat_a_text(world: World) -> None:
    threads = world.threads_between(START, START + timedelta(days=7))
    shingles = [_shingles(f"{thread.subject or ''} {thread.html}") for thread in threads]
    index: dict[str, list[int]] = defaultdict(list)
    repeated = set()
    for number, own in enumerate(shingles):
        shared = Counter(other for shingle in own for other in index[shingle])
        for other, count in shared.items():
            alike = count / (len(own) + len(shingles[other]) - count) >= 0.8
            if alike and (threads[number].raid is None or threads[number].raid != threads[other].raid):
                repeated.add(number)
        for shingle in own:
            index[shingle].append(number)
    assert len(repeated) < 0.01 * len(threads)
    raids = Counter(thread.raid for thread in world.threads_between(START, START + timedelta(days=DAYS)) if thread.raid)
    assert raids
    assert all(5 <= copies <= 20 for copies in raids.values())


def _shingles(markup: str) -> set[str]:
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup.replace("<wbr>", ""))).lower().split())
    return {text[start : start + 5] for start in range(max(1, len(text) - 4))}


def test_the_phrase_banks_hold_what_the_board_has_and_no_unfilled_slot(world: World) -> None:
    threads = world.threads_between(START, START + timedelta(days=10))
    everything = "\n".join(thread.html for thread in threads)
    for part in ('<span class="quote">&gt;', "<wbr>", "&#039;", "&quot;", '<a href="#p', "<s>", "https://"):
        assert part in everything
    assert "{" not in everything
    assert {thread.general for thread in threads} >= {"smg", "xmrg", None}
    assert any(thread.ironic for thread in threads)
    assert any(thread.file_deleted_at for thread in threads)
    assert any(thread.spoiler for thread in threads)
    assert len({coin for thread in threads for coin in thread.coins}) > 15
