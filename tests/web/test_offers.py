from collections.abc import Iterable
from datetime import date, datetime, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeller_world import START, Home

from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.labels.offer_posts import progress
from bizcharts_pipeline.labels.offers import (
    Candidates,
    Deck,
    Offer,
    OfferFilters,
    QueueEntry,
    load_candidates,
)
from bizcharts_pipeline.settings import LabellingSettings

NOW = datetime(2026, 3, 1)
LONG_AGO = NOW - timedelta(days=30)
ANN = OfferFilters("ann", "march")
PLAIN = LabellingSettings(relabel_share=0, shared_share=0)


def label(thread: int, labeller: str = "ann", rating: int | None = 1, at: datetime = LONG_AGO) -> Label:
    return Label(thread, rating, labeller, at, skipped=rating is None, session="february")


def candidates(count: int, *queue: QueueEntry) -> Candidates:
    return Candidates(np.arange(count), np.zeros(count, np.uint8), np.full(count, 24313, np.int32), queue)


def deck(
    count: int,
    labels: Iterable[Label] = (),
    filters: OfferFilters = ANN,
    settings: LabellingSettings = PLAIN,
    queue: Iterable[QueueEntry] = (),
    gold: Iterable[int] = (),
) -> Deck:
    return Deck(candidates(count, *queue), filters, settings, list(labels), set(gold), NOW)


def threads(offers: Iterable[Offer]) -> list[int]:
    return [offer.thread_id for offer in offers]


def test_the_order_is_random_the_same_after_a_restart_and_another_for_each_session_and_labeller() -> None:
    order = threads(deck(1000).upcoming(1000))
    assert sorted(order) == list(range(1000))
    assert abs(np.corrcoef(order, range(1000))[0, 1]) < 0.1
    done = [label(thread) for thread in order[:10]]
    assert threads(deck(1000, done).upcoming(990)) == order[10:]
    for other in (OfferFilters("ann", "april"), OfferFilters("bob", "march")):
        assert abs(np.corrcoef(order, threads(deck(1000, filters=other).upcoming(1000)))[0, 1]) < 0.1


def test_what_anybody_has_labelled_or_oneself_has_skipped_is_left_out_unless_everything_is_asked_for() -> None:
    labels = [label(0), label(1, rating=None), label(2, "bob"), label(3, "bob", None)]
    found = deck(10, labels)
    assert sorted(threads(found.upcoming(99))) == [3, 4, 5, 6, 7, 8, 9]
    assert found.left == 7
    everything = deck(10, labels, OfferFilters("ann", "march", everything=True), LabellingSettings())
    assert sorted(threads(everything.upcoming(99))) == list(range(10))


def test_relabels_and_shared_posts_come_at_their_shares_and_no_sooner_than_they_may() -> None:
    labels = [label(thread) for thread in range(1000)]
    labels += [label(thread, at=NOW - timedelta(days=6)) for thread in range(1000, 2000)]
    labels += [label(thread, "bob") for thread in range(2000, 4000)]
    offers = deck(20_000, labels, settings=LabellingSettings()).upcoming(4000)
    assert len(set(threads(offers))) == 4000
    relabels = [offer.thread_id for offer in offers if offer.stratum == "relabel"]
    shared = [offer.thread_id for offer in offers if offer.stratum == "shared"]
    assert len(relabels) / 4000 == pytest.approx(0.05, abs=0.012)
    assert len(shared) / 4000 == pytest.approx(0.15, abs=0.02)
    assert max(relabels) < 1000
    assert 2000 <= min(shared) <= max(shared) < 4000
    assert {offer.stratum for offer in offers if offer.thread_id >= 4000} == {"filter"}


def test_the_queue_is_offered_in_its_order_without_gold_and_without_what_was_done_since() -> None:
    rows = [
        (5, "uncertain"),
        (3, "random"),
        (8, "relabel"),
        (1, "recent"),
        (7, "disputed"),
        (2, "random"),
        (99, "random"),
    ]
    queue = [QueueEntry(Offer(thread, stratum, 0.1), NOW) for thread, stratum in rows]
    labels = [label(8), label(7), label(3)]
    queued = OfferFilters("ann", "march", queue=True)
    found = deck(10, labels, queued, LabellingSettings(), queue, gold=[2])
    assert found.upcoming(9) == [Offer(5, "uncertain", 0.1), Offer(8, "relabel", 0.1), Offer(1, "recent", 0.1),
                                 Offer(7, "disputed", 0.1)]  # fmt: skip
    assert found.left == 4
    labels += [label(8, at=NOW), label(7, at=NOW + timedelta(hours=1)), label(1, "bob")]
    found = deck(10, labels, queued, PLAIN, queue, gold=[2])
    assert threads(found.upcoming(9)) == [5]


@given(st.lists(st.tuples(st.sampled_from(["label", "undo", "elsewhere"]), st.integers(0, 29)), max_size=60))
def test_whatever_is_done_no_post_is_lost_or_offered_twice(steps: list[tuple[str, int]]) -> None:
    found = deck(30)
    done: list[Offer] = []
    elsewhere: set[int] = set()
    for step, thread in steps:
        if step == "label" and (offers := found.upcoming(1)):
            found.decided(offers[0].thread_id)
            done.append(offers[0])
        elif step == "undo" and done:
            found.put_back(done.pop())
            assert found.upcoming(1)[0].thread_id not in threads(done)
        elif step == "elsewhere" and thread not in threads(done):
            elsewhere.add(thread)
            found.labelled_elsewhere({thread}, keep=3)
        left = threads(found.upcoming(99))
        assert len(set(left)) == len(left) == found.left
        assert set(left).isdisjoint(threads(done))
        assert set(left) | set(threads(done)) | elsewhere == set(range(30))


def test_the_filters_take_source_and_utc_days(home: Home) -> None:
    moments = [START, START + timedelta(hours=23, minutes=59), START + timedelta(days=1), START + timedelta(days=2)]
    home.add_posts(
        [
            {"thread_id": number, "posted_at": at.isoformat(), "source": source}
            for number, (at, source) in enumerate(zip(moments, ("live", "warosu", "live", "live"), strict=True))
        ]
    )

    def found(**filters: object) -> list[int]:
        with home.database.read() as connection:
            return load_candidates(connection, OfferFilters("ann", "s", **filters)).threads.tolist()  # type: ignore[arg-type]

    first, second = START.date(), START.date() + timedelta(days=1)
    assert found() == [0, 1, 2, 3]
    assert found(source="live") == [0, 2, 3]
    assert found(first=first, last=first) == [0, 1]
    assert found(first=second) == [2, 3]
    assert found(last=date(2000, 1, 1)) == []


def test_progress_counts_what_is_done_by_month_and_source() -> None:
    months = np.array([2026 * 12] * 4 + [2026 * 12 + 1] * 4)
    posts = Candidates(np.arange(8), np.array([0, 0, 1, 1, 1, 1, 1, 1]), months)
    newest, *_, oldest = progress(posts, [label(0), label(6, rating=3), label(7), label(99)], wanted=4)
    assert (newest.month, newest.source, newest.posts, newest.target, newest.done) == (
        "2026-02",
        "live",
        4,
        2,
        (1, 0, 1),
    )
    assert (oldest.month, oldest.source, oldest.posts, oldest.target, oldest.done) == (
        "2026-01",
        "warosu",
        2,
        1,
        (1, 0, 0),
    )
