"""The job `labelling` where a service cannot be used: what people and models said before still becomes a data set."""

import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import dagster as dg
import pytest
from installation import Installation
from labelling_world import NOW, TRUTH, Labelling, some_threads

from bizcharts_pipeline.demo.label_apis.oracle import Oracle
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.labels.ledger import LEDGER, GoldPost, Label, LabelLedger
from bizcharts_pipeline.labels.stances import RATINGS

POSTS, GOLD, LABELLED = 200, 60, 100


@pytest.fixture
def apis() -> Iterator[SimulatedLabelApis]:
    with SimulatedLabelApis(Oracle(TRUTH, 1.0)) as running:
        yield running


def label(installation: Installation, first: int, last: int) -> None:
    """Let one person label posts as they are meant."""
    labels = [
        Label(thread.thread_id, RATINGS[thread.stance], "ann", NOW - timedelta(hours=1), seconds=3.0, origin="demo")
        for thread in some_threads(POSTS)[first:last]
    ]
    LabelLedger(installation.home / LEDGER).append(labels)


def models_could_be_asked(installation: Installation) -> bool:
    """Whether the newest evaluation of the asset's check passed."""
    check = dg.AssetCheckKey(dg.AssetKey("auto_labels"), "models_could_be_asked")
    with dg.DagsterInstance.from_config(str(installation.dagster_home)) as instance:
        (newest,) = instance.event_log_storage.get_asset_check_execution_history(check, limit=1)
    return newest.status.value == "SUCCEEDED"


def rows(installation: Installation) -> dict[int, str]:
    """The newest data set's posts, and who labelled each: people, or models by name."""
    ((path,),) = installation.query("SELECT path FROM dataset_versions ORDER BY created_at DESC LIMIT 1")
    listed = json.loads((installation.home / path / "rows.json").read_text(encoding="utf-8"))
    return {row["thread_id"]: row["labelled_by"] for row in listed}


@pytest.mark.slow
def test_a_provider_that_cannot_be_used_fails_its_check_and_the_data_set_is_made(
    tmp_path: Path, apis: SimulatedLabelApis
) -> None:
    posts = Labelling(Installation(tmp_path, "http://127.0.0.1:9"), apis, "openai", "chat", POSTS, dagster=True)
    installation = posts.installation
    label(installation, 0, LABELLED)
    gold = [GoldPost(thread.thread_id, "2026-03", NOW) for thread in some_threads(POSTS)[:GOLD]]
    LabelLedger(installation.home / LEDGER).freeze_gold(gold)
    installation.extra["BIZCHARTS_AUTO_LABELS__PER_RUN"] = "150"
    posts.run()
    assert models_could_be_asked(installation)
    before = rows(installation)
    assert len(set(before.values())) == 2, before

    apis.accepted_key = "another"
    label(installation, LABELLED, POSTS - 40)
    said = posts.run()  # ends well
    assert not models_could_be_asked(installation)
    assert "error: " in said
    assert "401" in said
    after = rows(installation)
    assert before.keys() <= after.keys()
    assert list(after.values()).count("people") > list(before.values()).count("people")
    assert any(source != "people" for source in after.values())
