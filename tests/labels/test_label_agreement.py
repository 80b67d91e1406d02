import random
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.labels.agreement import agreements, between_labellers, cohen_kappa, measured, self_agreements
from bizcharts_pipeline.labels.ledger import GoldPost, Label, LabelLedger
from bizcharts_pipeline.labels.statistics import file_statistics, label_statistics, ledger_statistics
from bizcharts_pipeline.labels.transfer import import_labels

NOON = datetime(2026, 3, 1, 12)
WEEK = timedelta(days=7)
PAIRS = st.lists(st.tuples(st.integers(1, 3), st.integers(1, 3)), min_size=10, max_size=60)


def rated(labeller: str, *ratings: int | None, at: datetime = NOON, **values: object) -> list[Label]:
    """Labels of the posts 1, 2, 3 …; ``None`` skips."""
    return [
        Label(post, rating, labeller, at, skipped=rating is None, **values)  # type: ignore[arg-type]
        for post, rating in enumerate(ratings, start=1)
    ]


@given(pairs=PAIRS)
def test_the_kappas_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    from sklearn.metrics import accuracy_score, cohen_kappa_score

    one, other = zip(*pairs, strict=True)
    found = measured("a", "b", pairs)
    assert found.raw.value == pytest.approx(accuracy_score(one, other))
    if len({*one, *other}) == 1:
        assert (found.kappa.value, found.kappa.reason) == (None, "one class only")
        assert found.weighted_kappa.value is None
        assert cohen_kappa(one, other) is None
        assert found.ac1.value == 1
    else:
        assert found.kappa.value == pytest.approx(cohen_kappa_score(one, other))
        assert cohen_kappa(one, other) == pytest.approx(cohen_kappa_score(one, other))
        expected = cohen_kappa_score(one, other, weights="quadratic", labels=[1, 2, 3])
        assert found.weighted_kappa.value == pytest.approx(expected)


def test_gwets_coefficient_is_that_of_its_formula() -> None:
    # 45 of 50 the same; shares of the classes .90, .08 and .02: chance is (.09 + .0736 + .0196) / 2.
    pairs = [(1, 1)] * 43 + [(2, 2)] * 2 + [(1, 2)] * 3 + [(3, 1)] * 1 + [(2, 3)] * 1
    shares = [90 / 100, 8 / 100, 2 / 100]
    assert [sum((a == k) + (b == k) for a, b in pairs) / 100 for k in (1, 2, 3)] == shares
    chance = sum(share * (1 - share) for share in shares) / 2
    assert measured("a", "b", pairs).ac1.value == pytest.approx((0.9 - chance) / (1 - chance))


def test_an_interval_holds_the_truth_about_as_often_as_it_says() -> None:
    rng = random.Random(5)
    # Half of the second ratings are the first's, the others are at random: kappa is 1/2.
    held = 0
    for seed in range(100):
        first = [rng.randint(1, 3) for _ in range(120)]
        pairs = [(one, one if rng.random() < 0.5 else rng.randint(1, 3)) for one in first]
        kappa = measured("a", "b", pairs, seed).kappa
        assert kappa.lo is not None
        assert kappa.hi is not None
        held += kappa.lo <= 0.5 <= kappa.hi
    assert 87 <= held <= 100


def test_the_same_labels_give_the_same_interval() -> None:
    pairs = [(1, 1), (2, 2), (3, 2)] * 10
    assert measured("a", "b", pairs) == measured("a", "b", pairs)


def test_labellers_are_compared_on_what_both_have_rated_last() -> None:
    labels = [
        *rated("ann", 1, 2, 3, None, *[2] * 10),
        *rated("ann", 3, at=NOON + timedelta(minutes=1)),  # a correction of post 1
        *rated("bob", 3, 2, 1, 1, *[2] * 8, None),
    ]
    (found,) = between_labellers(labels)
    assert (found.first, found.second, found.items) == ("ann", "bob", 11)
    assert found.table == ((0, 0, 0), (0, 9, 0), (1, 0, 1))
    assert self_agreements(labels, WEEK) == []
    assert between_labellers(rated("ann", 1)) == []


def test_self_agreement_needs_time_in_between() -> None:
    labels = [
        *rated("ann", *[1, 2, 3] * 4),
        *rated("ann", *[3] * 12, at=NOON + timedelta(minutes=1)),
        *rated("ann", *[3] * 9, 1, 1, None, at=NOON + timedelta(days=8)),
    ]
    (found,) = self_agreements(labels, WEEK)
    assert (found.first, found.second, found.items) == ("ann", "ann", 11)
    assert found.table == ((0, 0, 0), (0, 0, 0), (2, 0, 9))
    assert "ann with themselves" in str(found)


def test_too_few_posts_are_no_figure_but_their_reason() -> None:
    (found,) = agreements([*rated("ann", 1, 2, 3), *rated("bob", 1, 2, 3)], WEEK)
    assert (found.items, found.raw.value, found.raw.reason) == (3, None, "fewer than 10 posts")
    assert "fewer than 10 posts" in str(found)


def test_statistics_count_the_newest_of_each_labeller() -> None:
    labels = [
        *rated("ann", 1, 2, 3, seconds=2.0, posted_at=datetime(2026, 2, 28, 23), stratum="random"),
        *rated("ann", 2, at=NOON + timedelta(days=1), seconds=4.0, stratum="relabel"),
        *rated("bob", None, None, flag="unreadable", seconds=1000.0),
        *rated("bob", None, at=NOON + timedelta(days=1), seconds=10.0),
        *rated("cat", None, None, notes="skip: cannot tell; too odd", at=NOON + timedelta(days=1)),
    ]
    found = label_statistics(labels, WEEK, gold=2)
    assert (found.labels, found.posts, found.rated, found.skipped, found.gold) == (9, 3, 3, 4, 2)
    assert found.classes == {"bearish": 0, "neutral": 2, "bullish": 1}
    assert found.by_labeller["bob"] == {"bearish": 0, "neutral": 0, "bullish": 0, "skipped": 2}
    assert found.by_month["2026-02"] == {"bearish": 0, "neutral": 1, "bullish": 1, "skipped": 0}
    assert found.by_month["unknown"]["skipped"] == 4
    assert set(found.by_stratum) == {"random", "relabel", "unknown"}
    assert found.skips_by_reason == {"cannot tell": 2, "unreadable": 1, "no reason given": 1}
    assert found.flags == {"unreadable": 1}
    assert found.median_seconds == {"ann": 2.0, "bob": 10.0}
    assert found.per_day == {"2026-03-01": 5, "2026-03-02": 4}
    month = replace(found, per_day={f"2026-03-{day:02}": 5 for day in range(1, 31)})
    assert max(len(line) for line in str(month).splitlines() if "2026-03-30" in line) <= 80
    for text in ("9 labels", "2 of them gold", "ann", "2026-02", "unreadable 1", "bob 10.0"):
        assert text in str(found)


def test_nothing_labelled_yet_is_statistics_too(tmp_path: Path) -> None:
    found = ledger_statistics(LabelLedger(tmp_path / "labels.sqlite"), WEEK)
    assert (found.labels, found.agreement) == (0, ())
    assert "0 labels" in str(found)


def test_statistics_of_the_real_labels_are_those_of_their_source(tmp_path: Path, shared_data: Path) -> None:
    file = shared_data / "labels" / "biz_op_labels_2025_part_a.jsonl"
    ledger = LabelLedger(tmp_path / "labels.sqlite")
    import_labels(file, ledger, tmp_path)
    ledger.freeze_gold([GoldPost(61061608, "2025-10", NOON)])
    of_ledger, of_file = ledger_statistics(ledger, WEEK), file_statistics(file, WEEK)
    assert of_ledger.classes == of_file.classes == {"bearish": 233, "neutral": 319, "bullish": 120}
    assert {month: sum(counts.values()) for month, counts in of_file.by_month.items()} == {
        "2025-10": 255,
        "2025-12": 417,
    }
    assert (of_ledger.gold, of_file.gold) == (1, 0)


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        ([(1, 1)] * 10 + [(3, 3)] * 10, "fewer than 2"),
        ([(1, 1)] * 10 + [(3, 3)] * 10 + [(1, 2)], "fewer than 2"),
        ([(2, 2)] * 18 + [(2, 1), (2, 3), (2, 1)], "one class"),
    ],
)
def test_a_kappa_that_resampling_can_not_doubt_has_no_interval(pairs: list[tuple[int, int]], reason: str) -> None:
    found = measured("a", "b", pairs)
    for kappa in (found.kappa, found.weighted_kappa):
        assert kappa.value is not None
        assert (kappa.lo, kappa.hi) == (None, None)
        assert reason in (kappa.reason or "")
        assert reason in str(kappa)
    assert found.ac1.lo is not None
    assert measured("a", "b", [*pairs, (3, 1), (1, 3)]).kappa.lo is not None
