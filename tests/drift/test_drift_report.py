"""Reports over a real database: made once a day, raised when the posts change, named where people look."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import numpy as np
import pytest
from index_world import MODEL, START, MadePost, new_database, store_posts

from assets.drift_report import drift_report, model_is_not_stale
from bizcharts_pipeline.drift.run import random_labels, report_drift
from bizcharts_pipeline.drift.words import rising_terms, sentence, sentences, verdict_sentence
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.service.health import _drift
from bizcharts_pipeline.settings import FearGreedSettings, load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.drift_reports import DriftRow, reports_since, standing_alarm
from bizcharts_pipeline.warehouse.model_evaluations import EvaluationRow, save_evaluations
from bizcharts_pipeline.warehouse.models import ModelVersion, promote
from bizcharts_pipeline.warehouse.scores import ScoredText, scored_texts, scores_of
from resources.fear_greed import FearGreed
from resources.warehouse import Warehouse

DAYS, PER_DAY, CHANGED = 165, 20, 14
LAST = (START + timedelta(days=DAYS - 1)).date()
NOW = START + timedelta(days=DAYS, hours=5)
MEASURES = ["class mix", "domain", "unknown words", "expected accuracy", "confidence", "labels", "verdict"]
WORDS = [f"{a}{b}{c}" for a in "bcdfghjk" for b in ("ala", "omo", "iri") for c in "nst"]


def posts(*, stale: bool) -> list[MadePost]:
    """Random words and opinions; if ``stale``, the last two weeks have new words, and the model is unsure of them."""
    generator = np.random.default_rng(1)
    made = []
    for number in range(DAYS * PER_DAY):
        day = number // PER_DAY
        changed = stale and day >= DAYS - CHANGED
        opinion = generator.dirichlet([1, 1, 1] if not changed else [90, 100, 90])
        chosen = [str(each) for each in generator.choice(WORDS, 8)]
        made.append(
            MadePost(
                1000 + number,
                START + timedelta(days=day, minutes=number % PER_DAY),
                up=float(opinion[2]),
                down=float(opinion[0]),
                confidence=float(1 + (opinion * np.log(opinion)).sum() / np.log(3)),
                image=f"{number:024}",
                text=" ".join([*chosen, *(["zorbing", "frombly"] if changed else [])]),
            )
        )
    return made


def filled(home: Path, *, stale: bool = False) -> Database:
    database = new_database(home)
    store_posts(database, posts(stale=stale), polled=False)
    with database.write() as connection:
        promote(connection, ModelVersion(MODEL, "tfidf", None, None, START, 0.6, 0.5, "champion", "models/x", "0" * 64))
    return database


def report(database: Database, now: datetime = NOW):
    return report_drift(database, database.path.parent, now, spam_cut=FearGreedSettings().spam_cut)


def test_a_calm_board_has_one_report_a_day_that_raises_no_alarm(tmp_path: Path) -> None:
    database = filled(tmp_path / "home")
    first = report(database)
    assert (first.day, first.made) == (LAST, 3)
    assert [row.measure for row in first.rows] == MEASURES
    assert not any(row.alarm for row in first.rows)
    assert verdict_sentence(first.rows) == f"{LAST}: no drift alarm. At most 0.075 false alarms a month are expected."
    assert sentences(first.rows)[-1] == "Not measured: the model was not evaluated on gold."
    again = report(database, NOW + timedelta(hours=3))
    assert again.made == 0
    assert again.rows == first.rows
    with database.read() as connection:
        assert [len(rows) for rows in reports_since(connection, MODEL, LAST - timedelta(days=9)).values()] == [7, 7, 7]
    assert report(database, NOW + timedelta(days=1)).made == 1  # a day on which nothing was posted is a report too


def test_a_home_without_a_model_or_a_past_says_so(tmp_path: Path) -> None:
    database = new_database(tmp_path / "home")
    assert report(database).model_version is None
    store_posts(database, posts(stale=False)[-200:], polled=False)
    with database.write() as connection:
        promote(connection, ModelVersion(MODEL, "tfidf", None, None, START, 0.6, 0.5, "champion", "models/x", "0" * 64))
    said = report(database)
    assert not any(row.alarm for row in said.rows)
    assert "scored posts reach back 0 weeks" in sentences(said.rows)[0]
    assert "Nothing could be measured" in verdict_sentence(said.rows)


def test_a_stale_model_is_named_by_asset_check_and_health_with_the_words_that_rose(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    settings = load_settings(home=tmp_path / "home")
    database = filled(tmp_path / "home", stale=True)
    database.path.rename(Path(settings.database_name))
    resources = {
        "warehouse": Warehouse(database=settings.database_name, home=str(settings.home_path)),
        "fear_greed": FearGreed(values=settings.fear_greed.model_dump()),
    }
    result = dg.materialize([drift_report, model_is_not_stale], resources=resources)
    (made,) = result.asset_materializations_for_node("drift_report")
    (check,) = result.get_asset_check_evaluations()
    assert not check.passed
    assert check.severity == dg.AssetCheckSeverity.WARN
    for said in (made.metadata["verdict"].value, check.metadata["verdict"].value, _drift(settings).detail):
        assert f"drift alarm since {LAST}" in str(said)
        assert "expected accuracy" in str(said)
    assert not _drift(settings).ok
    assert "zorbing" in str(made.metadata["rising_terms"].value)
    assert "The vocabulary of the last 7 days differs" in str(made.metadata["in words"].value)
    assert made.metadata["false_alarms_a_month"].value == pytest.approx(0.075)


def test_wrong_answers_on_random_labels_raise_the_alarm_alone_and_at_once(tmp_path: Path) -> None:
    database = filled(tmp_path / "home")
    figures = (0.8, 0.7, 0.9, 0.8, 0.7, 0.9, 0.8, 0.8, 0.8, 0.05, 0.6)
    confusion = ((40, 5, 5), (5, 40, 5), (5, 5, 40))
    with database.write() as connection:
        save_evaluations(connection, [EvaluationRow(MODEL, "g" * 64, 150, *figures, confusion, START)])
    recent = posts(stale=False)[-12 * PER_DAY :: 4]
    opposite = {post.thread_id: 1 if post.up > max(post.down, 1 - post.up - post.down) else 3 for post in recent}
    LabelLedger(tmp_path / "home" / LEDGER).append(
        [Label(thread, rating, "ann", NOW, posted_at=START, stratum="random") for thread, rating in opposite.items()]
    )
    found = report(database)
    (labels,) = [row for row in found.rows if row.measure == "labels"]
    assert labels.n == 60
    assert labels.alarm
    assert labels.reference == pytest.approx(0.8)
    assert (labels.value, labels.lo, labels.hi) == (0, 0, pytest.approx(0.060, abs=5e-4))
    assert "raised by labels. At most 0.1 false alarms" in verdict_sentence(found.rows)
    assert "less often right than at its evaluation" in sentences(found.rows)[-1]


def test_an_alarm_ends_with_the_champion_that_it_was_about(tmp_path: Path) -> None:
    database = filled(tmp_path / "home", stale=True)
    raised = report(database)
    assert "zorbing" in {row[0] for row in rising_terms(raised.rows).rows}
    with database.read() as connection:
        assert standing_alarm(connection) is not None
    newer = ModelVersion("newer", "tfidf", None, None, NOW, 0.6, 0.5, "champion", "models/y", "1" * 64)
    with database.write() as connection:
        promote(connection, newer)
    with database.read() as connection:
        assert standing_alarm(connection) is None


def test_only_labels_of_the_random_stream_that_the_model_cannot_have_learnt_measure_it(tmp_path: Path) -> None:
    ledger = LabelLedger(tmp_path / LEDGER)
    assert random_labels(ledger, None) == {}
    drawn = Label(1, 3, "ann", NOW, posted_at=NOW, stratum="random")
    ledger.append(
        [
            drawn,
            replace(drawn, thread_id=2, sentiment_rating=1, stratum="uncertain"),
            replace(drawn, thread_id=3, labeled_at=NOW - timedelta(days=9)),
            replace(drawn, thread_id=4, flag="irony"),
            replace(drawn, thread_id=5, suggestion="bullish"),
            replace(drawn, thread_id=6, sentiment_rating=None, skipped=True),
            replace(drawn, thread_id=7, sentiment_rating=1),
            replace(drawn, thread_id=7, labeler_id="bob", sentiment_rating=3, stratum="shared"),
            replace(drawn, thread_id=8, sentiment_rating=1),
        ]
    )
    assert random_labels(ledger, NOW - timedelta(days=1)) == {1: 2, 8: 0}


def test_adverts_copies_pinned_posts_other_generals_and_scores_that_wait_are_not_read(tmp_path: Path) -> None:
    post = MadePost(1, START, 0.2, 0.3, text="read", image="one")
    made = [
        post,
        replace(post, thread_id=2, spam=0.9),
        replace(post, thread_id=3, cluster_id=1),
        replace(post, thread_id=4, sticky=True),
        replace(post, thread_id=5, general="smg"),
        replace(post, thread_id=6, text="waits"),
        replace(post, thread_id=7, posted_at=START + timedelta(days=1)),
    ]
    database = new_database(tmp_path / "home")
    store_posts(database, made, polled=False)
    with database.write() as connection:
        connection.execute("UPDATE scored_posts SET waits_for = 'model' WHERE thread_id = 6")
        connection.execute("UPDATE scored_posts SET waits_for = 'features' WHERE thread_id = 1")  # its own
        chosen = {"most_a_day": 9, "spam_cut": 0.8, "excluded_generals": ["smg"]}
        found = scored_texts(connection, MODEL, START, START + timedelta(days=1), **chosen)
        said = scores_of(connection, MODEL, [1, 6, 7], START, START + timedelta(days=1))
    assert found == [ScoredText(1, START, "read", (0.3, 0.5, 0.2), 0.5)]
    assert said == {1: (START, (0.3, 0.5, 0.2))}


def test_a_limit_that_no_value_can_exceed_is_named_as_such() -> None:
    row = DriftRow(LAST, MODEL, "domain", 0.92, None, None, 0.69, 1.2, False, 315, {}, NOW)
    assert sentence(row) == (
        "Texts: AUC of a classifier that tells the week apart: 0.92 (expected 0.69, limit 1.20). There are too few "
        "weeks before for a limit that can be exceeded."
    )


def test_a_change_of_the_class_mix_is_said_to_be_one_of_the_mood() -> None:
    details = {
        "prices": True,
        "bearish": 0.31,
        "bullish": 0.2,
        "expected_bearish": 0.28,
        "expected_bullish": 0.25,
        "earlier_weeks": 8,
    }
    row = DriftRow(LAST, MODEL, "class mix", 7.0, None, None, 0.0, 6.4, True, 900, details, NOW)
    assert sentence(row) == (
        "The class mix of the last 7 days is farther than usual from what is expected from the weeks before and "
        "Bitcoin's returns: 31 % bearish and 20 % bullish, expected 28 % and 25 %. That is a change of the mood, not "
        "of the model."
    )
    assert "the weeks before, no prices: " in sentence(replace(row, alarm=False, details=details | {"prices": False}))
