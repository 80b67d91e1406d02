"""The queue and the check on trust, as Dagster runs them."""

import random
from collections.abc import Mapping
from pathlib import Path

import dagster as dg
import pytest
from labels.queue_world import NOW, answered, board, openings, queue, rated

from assets.label_queue import label_queue
from assets.trust_checks import trusted_on_gold
from bizcharts_pipeline.labels.ledger import GoldPost
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.settings import ActiveLearningSettings, AutoLabelSettings, LabellingSettings
from resources.active_learning import ActiveLearning
from resources.auto_labelling import AutoLabelling
from resources.labelling import Labelling
from resources.warehouse import Warehouse


@dg.asset
def auto_labels() -> None: ...


@dg.asset(deps=[auto_labels])
def sharegpt_dataset() -> None: ...


def resources(folder: Path) -> Mapping[str, object]:
    return {
        "warehouse": Warehouse(database=str(folder / "board.duckdb")),
        "labelling": Labelling(home=str(folder), values=LabellingSettings().model_dump()),
        "active_learning": ActiveLearning(values=ActiveLearningSettings(size=50).model_dump()),
        "auto_labelling": AutoLabelling(
            home=str(folder),
            values={
                "auto_labels": AutoLabelSettings(prompt="v1").model_dump(mode="json"),
                "openai": {"model": "m", "endpoint": "chat"},
            },
        ),
    }


def test_the_queue_is_materialised_with_what_it_is_made_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    made = openings(500)
    database, ledger = board(tmp_path, made)
    ledger.append([rated(post) for post in made[:100]])
    result = dg.materialize([label_queue], resources=resources(tmp_path))
    metadata = result.asset_materializations_for_node("label_queue")[0].metadata
    assert metadata["posts"].value == len(queue(database)) == 50
    assert metadata["labels_learned_from"].value == 100
    assert "uncertain" in str(metadata["first_posts"].value)
    assert all(post.text not in str(metadata) for post in made)  # what the UI shows, it keeps for ever


@pytest.mark.parametrize(
    ("right", "gold", "passed"),
    [(0.9, 100, True), (0.3, 100, False), (0.9, 10, False), (None, 100, True)],
    ids=["trusted", "measured and bad", "too little gold", "no model was asked"],
)
def test_a_bad_model_fails_its_check_and_stops_neither_the_job_nor_the_data_set(
    tmp_path: Path, right: float | None, gold: int, passed: bool
) -> None:
    made = openings(100, copies=0)
    database, ledger = board(tmp_path, made)
    ledger.append([rated(post) for post in made])
    ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in made[:gold]])
    if right is not None:
        rng = random.Random(0)
        answered(
            database,
            [(post.thread_id, STANCES[(post.rating - (rng.random() < right)) % 3]) for post in made],
        )
    definitions = dg.Definitions(
        assets=[auto_labels, sharegpt_dataset], asset_checks=[trusted_on_gold], resources=resources(tmp_path)
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed == passed
    assert result.success
    assert result.asset_materializations_for_node("sharegpt_dataset")


@dg.asset
def human_labels() -> None: ...


@dg.asset
def scored_posts() -> None: ...


def test_the_queue_is_made_however_bad_the_models_are(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_NOW", NOW.isoformat())
    made = openings(200, copies=0)
    database, ledger = board(tmp_path, made)
    ledger.append([rated(post) for post in made[:100]])
    ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in made[:100]])
    answered(database, [(post.thread_id, STANCES[post.rating % 3]) for post in made[:100]])
    definitions = dg.Definitions(
        assets=[human_labels, scored_posts, auto_labels, sharegpt_dataset, label_queue],
        asset_checks=[trusted_on_gold],
        resources=resources(tmp_path),
    )
    job = definitions.resolve_implicit_global_asset_job_def()
    result = job.execute_in_process(raise_on_error=False)
    assert [evaluation.passed for evaluation in result.get_asset_check_evaluations()] == [False]
    assert result.asset_materializations_for_node("sharegpt_dataset")
    assert result.asset_materializations_for_node("label_queue")
    assert queue(database)


@pytest.mark.parametrize("new_has_answers", [False, True])
def test_a_bad_version_that_is_asked_no_more_stops_nothing(tmp_path: Path, new_has_answers: bool) -> None:
    made = openings(100, copies=0)
    database, ledger = board(tmp_path, made)
    ledger.append([rated(post) for post in made])
    ledger.freeze_gold([GoldPost(post.thread_id, "2026-03", NOW) for post in made])
    answered(database, [(post.thread_id, STANCES[post.rating % 3]) for post in made], provider="gemini")
    if new_has_answers:
        answered(database, [(post.thread_id, None) for post in made], status="pending")
    definitions = dg.Definitions(
        assets=[auto_labels, sharegpt_dataset], asset_checks=[trusted_on_gold], resources=resources(tmp_path)
    )
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(raise_on_error=False)
    (evaluation,) = result.get_asset_check_evaluations()
    assert evaluation.passed == (not new_has_answers)  # nothing is known of what is asked now: a warning
    assert "gemini" in str(evaluation.metadata["versions"].value)
    assert result.asset_materializations_for_node("sharegpt_dataset")
