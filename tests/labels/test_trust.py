"""Only what agrees with people may train, and a refusal is no opinion."""

import random
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from labels.queue_world import LONG_AGO, NOW, Opening, answered, board, openings, rated

from bizcharts_pipeline.labels.ledger import GoldPost, LabelLedger
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.labels.trust import MIN_GOLD_POSTS, Trust, majority, measure_trust, wilson
from bizcharts_pipeline.settings import AutoLabelSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.trust import refusals, trusted_labels, trusted_versions

GATE = AutoLabelSettings()
WEEK = timedelta(days=7)


def gold_board(folder: Path, gold: int = 120) -> tuple[Database, LabelLedger, list[Opening]]:
    made = openings(gold, copies=0)
    database, ledger = board(folder, made)
    ledger.append([rated(post) for post in made])
    ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in made])
    return database, ledger, made


def says(posts: list[Opening], right: float, seed: int = 0) -> list[tuple[int, str]]:
    """Return answers of which a share of ``right`` are."""
    rng = random.Random(seed)
    return [
        (post.thread_id, STANCES[post.rating - 1 if rng.random() < right else (post.rating + rng.randrange(2)) % 3])
        for post in posts
    ]


def measured(database: Database, ledger: LabelLedger) -> dict[str, Trust]:
    return {trust.row.provider: trust for trust in measure_trust(database, ledger, GATE, NOW, relabelled_after=WEEK)}


def test_a_good_version_is_trusted_and_a_bad_one_is_not(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    answered(database, says(made, 0.85))
    answered(database, says(made, 0.35), provider="gemini")
    found = measured(database, ledger)
    assert found["openai"].row.trusted
    assert found["openai"].row.reason is None
    assert not found["gemini"].row.trusted
    assert "accuracy" in (found["gemini"].row.reason or "")
    with database.read() as connection:
        assert [version.provider for version in trusted_versions(connection)] == ["openai"]
        assert trusted_labels(connection, [post.thread_id for post in made]) == dict(says(made, 0.85))


def test_the_figures_are_scikit_learns_and_the_interval_is_wilsons(tmp_path: Path) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    database, ledger, made = gold_board(tmp_path)
    answered(database, said := says(made, 0.7), sure=0.8)
    row, confusion = measured(database, ledger)["openai"].row, measured(database, ledger)["openai"].confusion
    true, given = [post.rating - 1 for post in made], [STANCES.index(label) for _, label in said]
    assert row.accuracy == pytest.approx(metrics.accuracy_score(true, given))
    assert row.macro_f1 == pytest.approx(metrics.f1_score(true, given, average="macro"))
    recalls = [row.recall_bearish, row.recall_neutral, row.recall_bullish]
    assert recalls == pytest.approx(metrics.recall_score(true, given, average=None))
    assert row.kappa == pytest.approx(metrics.cohen_kappa_score(true, given))
    assert row.kappa_lo < row.kappa < row.kappa_hi
    assert row.ece == pytest.approx(abs(0.8 - row.accuracy), abs=0.08)
    assert [list(line) for line in confusion] == metrics.confusion_matrix(true, given).tolist()
    assert wilson(80, 100) == pytest.approx((0.7111, 0.8666), abs=5e-4)  # Wilson 1927, as Newcombe 1998 computes it
    assert row.usd_per_1000 == pytest.approx(0.4)


def test_a_refusal_is_missing_and_never_neutral(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    answered(database, [*says(made[:90], 1)])
    answered(database, [(post.thread_id, None) for post in made[90:110]], status="refused")
    answered(database, [(post.thread_id, None) for post in made[110:]], status="failed")
    row = measured(database, ledger)["openai"].row
    assert (row.n, row.accuracy, row.block_rate) == (90, 1, 20 / 110)  # who failed to answer did not decline
    assert row.usd_per_1000 == pytest.approx(0.4 * 120 / 90)  # what refused posts cost is part of it


def test_too_little_gold_is_no_ground_for_trust(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    answered(database, says(made[: MIN_GOLD_POSTS - 1], 1))
    row = measured(database, ledger)["openai"].row
    assert not row.trusted
    assert f"{MIN_GOLD_POSTS} are needed" in (row.reason or "")


def test_one_class_that_is_never_found_is_enough_for_distrust(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    blind = {1: "bearish", 2: "neutral", 3: "neutral"}
    answered(database, [(post.thread_id, blind[post.rating]) for post in made])
    row = measured(database, ledger)["openai"].row
    assert row.accuracy is not None
    assert row.accuracy > GATE.least_accuracy
    assert "bullish" in (row.reason or "")


def test_a_model_need_not_agree_better_than_people_but_nearly_as_well(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    answered(database, says(made, 0.75))
    assert measured(database, ledger)["openai"].row.trusted
    ledger.append([rated(post, by="b") for post in made])  # two who agree wholly
    row = measured(database, ledger)["openai"].row
    assert not row.trusted
    assert "among people" in (row.reason or "")


def test_measurements_are_appended_and_the_newest_counts(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    answered(database, says(made, 0.9))
    measure_trust(database, ledger, GATE, LONG_AGO, relabelled_after=WEEK)
    measure_trust(database, ledger, AutoLabelSettings(least_accuracy=0.99), NOW, relabelled_after=WEEK)
    with database.read() as connection:
        assert connection.execute("SELECT trusted FROM auto_label_trust ORDER BY measured_at").fetchall() == [
            (True,),
            (False,),
        ]
        assert trusted_versions(connection) == []


def test_two_runs_of_the_same_moment_leave_one_measurement(tmp_path: Path) -> None:
    database, ledger, made = gold_board(tmp_path)
    answered(database, says(made, 0.9))
    measured(database, ledger)
    measured(database, ledger)
    with database.read() as connection:
        assert connection.execute("SELECT count(*) FROM auto_label_trust").fetchone() == (1,)


def test_people_who_saw_the_suggestion_are_no_judges(tmp_path: Path) -> None:
    made = openings(120, copies=0)
    database, ledger = board(tmp_path, made)
    ledger.append([replace(rated(post), suggestion=STANCES[post.rating - 1]) for post in made])
    ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in made])
    answered(database, says(made, 1))
    assert measured(database, ledger)["openai"].row.n == 0


def test_ties_and_skipped_posts_have_no_truth() -> None:
    one, two, three = openings(3, copies=0)
    labels = [rated(one, rating=1), rated(one, by="b", rating=3), rated(two, rating=1), rated(two, by="b", rating=1)]
    labels += [rated(two, by="c", rating=2), replace(rated(three), sentiment_rating=None, skipped=True)]
    assert majority(labels) == {two.thread_id: "bearish"}


def test_what_is_refused_is_told_by_what_the_lexicon_reads(tmp_path: Path) -> None:
    database, _, made = gold_board(tmp_path)
    refused = [post for post in made if post.rating == 1][:10]
    others = [post for post in made if post not in refused]
    answered(database, [(post.thread_id, None) for post in refused], status="refused")
    answered(database, says(others, 1))
    with database.write() as connection:
        for post in made:
            p = ", ".join(str(0.8 if post.rating == k else 0.1) for k in (1, 2, 3))
            connection.execute(
                "INSERT INTO scored_posts "
                f"VALUES ({post.thread_id}, 'x', {p}, 0, 0, 'lexicon', TIMESTAMP '2026-01-01', NULL)"
            )
    bearish = sum(post.rating == 1 for post in made)
    with database.read() as connection:
        found = refusals(connection)
    assert found.columns == ["provider", "lexicon_reads", "asked", "refused", "share"]
    assert ("openai", "bearish", bearish, 10, round(10 / bearish, 4)) in found.rows
    assert sum(row[3] for row in found.rows) == 10
