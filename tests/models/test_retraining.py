"""When another training is proposed, what it costs, and that nothing is started twice or unasked."""

import json
import sqlite3
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import dagster as dg
import pytest
from click.testing import CliRunner
from dagster import DagsterInstance
from labelled_world import NOW
from quick_jobs import quick_training
from training.gate_world import LATER, GateWorld, talk
from vision_world import fetch, post

from bizcharts_pipeline.alerts.ledger import LEDGER, AlertLedger
from bizcharts_pipeline.alerts.watch import Runs, watch
from bizcharts_pipeline.cli.labels import worth
from bizcharts_pipeline.labels.projection import materialise_gold
from bizcharts_pipeline.models.retraining import Retraining, Terms, retrainings
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow, append_report
from bizcharts_pipeline.warehouse.models import ModelVersion, promote, register_candidate
from resources.training import Training
from resources.warehouse import Warehouse
from schedules.retraining import retraining


@pytest.fixture
def trained(gated: GateWorld) -> GateWorld:
    """204 labelled posts, and a model of those that are not gold."""
    gated.train()
    materialise_gold(gated.database, gated.ledger)
    return gated


def found(world: GateWorld, **values: object) -> dict[str, Retraining]:
    settings = Settings.model_validate({"home": world.home, **values})
    with world.database.read() as connection:
        return {each.track: each for each in retrainings(connection, world.home, Terms.of(settings))}


def raise_alarm(world: GateWorld, model_version: str) -> None:
    details = {"by": ["labels"], "since": "2026-01-01", "running": []}
    row = DriftRow(date(2026, 1, 2), model_version, VERDICT, 1, None, None, None, None, True, 9, details, NOW)
    newest = world.models()[model_version]
    with world.database.write() as connection:
        promote(connection, newest)
        append_report(connection, [row])


def paid_adapter(world: GateWorld, posts: range) -> None:
    """An adapter that a pod trained on ``posts``."""
    folder = world.home / "models" / "qlora-a"
    folder.mkdir(parents=True)
    (folder / TRAINED_ON).write_text(json.dumps([{"thread_id": n, "label": 0, "text_sha256": ""} for n in posts]))
    row = ModelVersion("qlora-a", "qlora", None, None, LATER, None, None, "candidate", "models/qlora-a", "0" * 64)
    with world.database.write() as connection:
        register_candidate(connection, replace(row, usd=Decimal("2.31")))


def test_a_training_is_due_once_enough_posts_were_labelled_since_the_newest_model(trained: GateWorld) -> None:
    text = found(trained)["text"]
    assert (text.new_labels, text.due, text.sentences) == (0, False, ())
    trained.label(talk(range(2001, 2100)))
    assert not found(trained)["text"].due
    trained.label(talk([2100]))
    due = found(trained)["text"]
    assert due.sentences == (
        f"Training the text models again is due: 100 labelled posts that {text.newest} has not learned from.",
        "It runs on this machine and costs nothing: `bizcharts run training`.",
    )
    assert found(trained, ml={"training": {"text_on_pod": True}})["text"].rents
    trained.train()
    assert found(trained)["text"].new_labels == 0


def test_a_training_is_proposed_where_there_is_no_learning_curve(
    trained: GateWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_HOME", str(trained.home))
    monkeypatch.setenv("BIZCHARTS_DATABASE", trained.database.name)
    assert "no learning curve" in str(CliRunner().invoke(worth, []).exception)
    trained.label(talk(range(2001, 2101)))
    said = CliRunner().invoke(worth, [])
    assert said.exit_code == 0
    assert "There is no learning curve yet" in said.stdout
    assert "Training the text models again is due: 100 labelled posts" in said.stdout
    (figures,) = json.loads(CliRunner().invoke(worth, ["--json"]).stdout)["trainings"]
    assert figures["due"]


def test_imported_labels_without_a_text_count_where_the_post_is_known_with_a_text(trained: GateWorld) -> None:
    rows = talk(range(2001, 2101))
    trained.label([replace(label, subject_snapshot=None, text_snapshot=None, posted_at=None) for label in rows])
    assert found(trained)["text"].new_labels == 0
    post(trained.database, {label.thread_id: label.text_snapshot or "" for label in rows[:60]})
    post(trained.database, {label.thread_id: "" for label in rows[60:]})
    assert found(trained)["text"].new_labels == 60
    learned_from = {example.thread_id for example in trained.text_set().examples}
    assert {label.thread_id for label in rows} & learned_from == {label.thread_id for label in rows[:60]}
    trained.train()
    assert found(trained)["text"].new_labels == 0


def test_posts_on_which_people_disagree_ask_for_no_training(trained: GateWorld) -> None:
    rows = talk(range(2001, 2101))
    trained.label(rows)
    other = [replace(each, labeler_id="other", sentiment_rating=(each.sentiment_rating or 0) % 3 + 1) for each in rows]
    trained.label(other)
    assert found(trained)["text"].new_labels == 0
    trained.label([replace(each, labeler_id="third") for each in rows[:60]])
    assert found(trained)["text"].new_labels == 60
    examples = {example.thread_id for example in trained.text_set().examples}
    assert {each.thread_id for each in rows} & examples == {each.thread_id for each in rows[:60]}
    changed = [replace(each, labeled_at=each.labeled_at + timedelta(hours=1)) for each in rows[60:]]
    trained.label([replace(each, labeler_id="other") for each in changed])  # who has changed their mind
    assert found(trained)["text"].new_labels == 100


def test_copies_of_gold_ask_for_no_training(trained: GateWorld) -> None:
    rows = talk(range(2001, 2101))
    gold = [f"{label.text_snapshot}!" for label in talk(sorted(trained.gold()))][:30]
    copied = [replace(label, text_snapshot=text) for label, text in zip(rows, gold, strict=False)]
    trained.label([*copied, *rows[len(copied) :]])
    assert found(trained)["text"].new_labels == len(rows) - len(gold)
    examples = {example.thread_id for example in trained.text_set().examples}
    assert {each.thread_id for each in rows} & examples == {each.thread_id for each in rows[len(copied) :]}


def test_under_a_drift_alarm_fewer_labels_are_enough_but_some_are_needed(trained: GateWorld) -> None:
    raise_alarm(trained, found(trained)["text"].newest)
    text = found(trained)["text"]
    assert not text.due
    assert text.sentences[1] == "Label recent posts first: `make label`."
    trained.label(talk(range(2001, 2026)))
    assert found(trained)["text"].due
    assert "a drift alarm stands since 2026-01-01" in found(trained)["text"].sentences[0]


def test_a_paid_training_is_proposed_with_its_cost_and_only_where_it_ran_before(trained: GateWorld) -> None:
    trained.label(talk(range(2001, 2101)))
    assert "vision" not in found(trained)
    paid_adapter(trained, range(1, 205))
    assert found(trained)["vision"].new_labels == 0  # a post without a stored picture teaches it nothing
    vision = found(trained, labelling={"text_only": True})["vision"]
    assert vision.due
    assert vision.sentences[1] == (
        "It rents a pod: the last one cost 2.31 USD; a run may cost at most 5.00 USD: "
        "`bizcharts run labelling && bizcharts run training_qlora`."
    )


def test_a_post_with_a_stored_picture_and_no_text_counts_for_the_vision_model_alone(trained: GateWorld) -> None:
    paid_adapter(trained, range(1, 205))
    trained.label([replace(label, subject_snapshot=None, text_snapshot=None) for label in talk([2001, 2002])])
    post(trained.database, {2001: "", 2002: ""}, with_picture=True)
    fetch(trained.home, trained.database, 2001, "stored", b"a picture")
    for text_only in (False, True):
        counted = found(trained, labelling={"text_only": text_only})
        assert (counted["text"].new_labels, counted["vision"].new_labels) == (0, 1), text_only


def test_each_due_training_is_one_alert_for_each_newest_model(trained: GateWorld) -> None:
    settings = Settings.model_validate({"home": trained.home, "labelling": {"text_only": True}})
    ledger, runs = AlertLedger(trained.home / LEDGER), Runs(lambda since: [], lambda run_id: None)

    def titles(hours: int) -> list[str]:
        now = LATER + timedelta(hours=hours)
        return [event.subject for event in watch(ledger, trained.database, settings, runs, ["a"], now)]

    paid_adapter(trained, range(1, 205))
    assert titles(0) == []
    trained.label(talk(range(2001, 2101)))
    assert titles(1) == ["text", "vision"]
    trained.label(talk(range(2101, 2301)))
    assert titles(24 * 30) == []
    trained.train()
    trained.label(talk(range(2301, 2401)))
    assert titles(24 * 31) == ["text"]


def look(world: GateWorld, instance: DagsterInstance, **continual: object) -> dg.RunRequest | dg.SkipReason:
    settings = Settings.model_validate(
        {"home": world.home, "labelling": {"text_only": True}, "ml": {"continual": continual}}
    )
    warehouse = Warehouse(database=str(world.home / "test.duckdb"), home=str(world.home))
    resources = {"warehouse": warehouse, "training": Training.from_settings(settings)}
    with dg.build_sensor_context(instance=instance, resources=resources) as context:
        result = retraining(context)
    assert isinstance(result, dg.RunRequest | dg.SkipReason)
    return result


def test_a_training_that_costs_nothing_starts_by_itself_once_a_week_if_that_is_allowed(
    trained: GateWorld, instance: DagsterInstance
) -> None:
    assert "no training is due" in str(look(trained, instance, retrain_by_itself=True))
    trained.label(talk(range(2001, 2101)))
    assert isinstance(look(trained, instance), dg.SkipReason)
    assert isinstance(look(trained, instance, retrain_by_itself=True), dg.RunRequest)
    run_id = instance.create_run_for_job(quick_training, status=dg.DagsterRunStatus.FAILURE).run_id
    assert run_id in str(look(trained, instance, retrain_by_itself=True))  # so it is after a restart
    age(instance, run_id, timedelta(days=7, minutes=1))
    assert isinstance(look(trained, instance, retrain_by_itself=True), dg.RunRequest)


def test_a_training_that_rents_a_pod_is_never_started(trained: GateWorld, instance: DagsterInstance) -> None:
    paid_adapter(trained, range(1, 205))
    trained.label(talk(range(2001, 2101)))
    trained.train()
    said = look(trained, instance, retrain_by_itself=True)
    assert isinstance(said, dg.SkipReason)
    assert "It rents a pod: the last one cost 2.31 USD" in str(said.skip_message)


def age(instance: DagsterInstance, run_id: str, by: timedelta) -> None:
    with sqlite3.connect(Path(instance.root_directory) / "history" / "runs.db") as connection:
        made = f"{datetime.now(UTC) - by:%Y-%m-%d %H:%M:%S.%f}"
        connection.execute("UPDATE runs SET create_timestamp = ? WHERE run_id = ?", (made, run_id))
