"""The vision model trained further: what it is shown, what it inherits, and when it starts from the base."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from labelled_world import NOW, made_up
from training.training_world import TrainingWorld

from bizcharts_pipeline.labels.gold import extend_gold
from bizcharts_pipeline.models.leaks import exposure
from bizcharts_pipeline.models.pod_results import registered_as_adapter
from bizcharts_pipeline.models.registry import Registered
from bizcharts_pipeline.pods.protocol import Finished
from bizcharts_pipeline.sentiment.artifact import TRAINED_ON
from bizcharts_pipeline.settings import LabellingSettings, Settings
from bizcharts_pipeline.training.dataset import build_dataset
from bizcharts_pipeline.training.gold_set import load_gold_set
from bizcharts_pipeline.training.qlora_job import QloraTraining, qlora_training
from bizcharts_pipeline.training.sharegpt import format_problems
from bizcharts_pipeline.training.text_set import NothingToLearn
from bizcharts_pipeline.warehouse.models import learned_at, promote

LABELLING = LabellingSettings(text_only=True, gold_posts=40)
LATER = NOW + timedelta(days=30)


@pytest.fixture
def world(tmp_path: Path) -> TrainingWorld:
    """160 labelled posts, some with a picture, and a data set of those that are not gold."""
    world = TrainingWorld(tmp_path / "home")
    world.illustrated(made_up(range(1, 21)))
    world.label(made_up(range(21, 161)))
    world.draw(gold_posts=40)
    build_dataset(world.database, world.home, LABELLING, NOW)
    return world


@contextmanager
def planned(world: TrainingWorld, **continual: Any) -> Iterator[QloraTraining]:
    values = {"continual": {"continue_adapter": True, **continual}}
    settings = Settings.model_validate({"home": world.home, "pod_provider": "local", "ml": values})
    with qlora_training(world.database, world.home, settings) as order:
        yield order


def trained(world: TrainingWorld, order: QloraTraining, now: Any = NOW) -> Registered:
    """Register what a pod may have made of the order, and promote it."""
    folder = world.home / f"result-{now:%d}"
    (folder / "adapter").mkdir(parents=True)
    header = b"{}"
    weights = len(header).to_bytes(8, "little") + header
    (folder / "adapter" / "adapter_model.safetensors").write_bytes(weights)
    (folder / "adapter" / "adapter_config.json").write_text(json.dumps({"r": 16, "run": str(now)}))
    revision = order.spec["revision"] or "a" * 40
    (folder / "report.json").write_text(json.dumps({"revision": revision, "gpu": None}))
    answers = [{"thread_id": thread, "log_p": [-1.0, -1.0, -1.0]} for thread in sorted(order.gold.asked)]
    (folder / "scores.json").write_text(json.dumps({"gold": answers, "temperature": 1.0}))
    plan = registered_as_adapter(order, world.database, world.home, now, "run")
    registered = plan.register(Finished(folder, "pod", None, 1, 60.0, 1, False))
    with world.database.write() as connection:
        promote(connection, registered.model)
    return registered


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    return json.loads((folder / name).read_bytes()) if (folder / name).exists() else []


def test_it_is_shown_all_new_posts_and_a_share_of_old_ones_and_inherits_the_rest(world: TrainingWorld) -> None:
    with planned(world) as order:
        assert order.start == f"the base, on {order.dataset.train_rows} posts"
        parent = trained(world, order)
    before = rows(world.home / str(parent.model.path), TRAINED_ON)
    world.label(made_up(range(1001, 1071), month=5, labeled_at=NOW + timedelta(days=1)))
    build_dataset(world.database, world.home, LABELLING, LATER)
    with planned(world, replay_share=0.3) as order:
        assert order.continued
        abouts = rows(order.dataset_folder, "rows.json")
        shown = [about["thread_id"] for about in abouts if about["split"] == "train"]
        new = [thread for thread in shown if thread > 1000]
        assert (order.continued.new, order.continued.replayed) == (len(new), len(shown) - len(new))
        assert order.continued.replayed == round(0.3 / 0.7 * len(new))
        taught = {row["thread_id"] for row in before if row["split"] == "train"}
        assert not taught & {about["thread_id"] for about in abouts if about["split"] == "validation"}
        assert not world.gold() & {about["thread_id"] for about in abouts}
        assert format_problems(order.dataset_folder) == []
        data = order.job.folders["data"]
        assert (data / "parent" / "adapter_config.json").is_file()
        spec = json.loads((data / "spec.json").read_bytes())
        assert (spec["parent"], spec["revision"]) == (parent.model_version, "a" * 40)
        child = trained(world, order, LATER)
    after = rows(world.home / str(child.model.path), TRAINED_ON)
    assert {row["thread_id"] for row in before} <= {row["thread_id"] for row in after}
    inherited = [row for row in after if "learned_at" in row]
    assert {row["learned_at"] for row in inherited} == {NOW.isoformat()}
    assert len(after) == len(abouts) + len(inherited)


def test_without_anything_new_nothing_is_rented(world: TrainingWorld) -> None:
    with planned(world) as order:
        parent = trained(world, order)
    with pytest.raises(NothingToLearn, match=f"new to {parent.model_version}"), planned(world):
        pass


def test_an_adapter_of_other_settings_is_not_continued(world: TrainingWorld) -> None:
    with planned(world) as order:
        trained(world, order)
    values = {"continual": {"continue_adapter": True}, "training": {"rank": 8}}
    settings = Settings.model_validate({"home": world.home, "pod_provider": "local", "ml": values})
    with qlora_training(world.database, world.home, settings) as order:
        assert order.continued is None
        assert json.loads((order.job.folders["data"] / "spec.json").read_bytes())["parent"] is None


def test_gold_that_was_frozen_after_the_parents_training_is_no_leak_of_the_child(world: TrainingWorld) -> None:
    with planned(world) as order:
        parent = trained(world, order)
    before = {row["thread_id"] for row in rows(world.home / str(parent.model.path), TRAINED_ON)}
    world.label(made_up(range(1001, 1101), month=1, labeled_at=NOW + timedelta(days=1)))
    extend_gold(world.database, world.ledger, LABELLING.model_copy(update={"gold_posts": 80}), NOW + timedelta(days=2))
    late = world.gold() & before
    assert late
    build_dataset(world.database, world.home, LABELLING, LATER)
    with planned(world) as order:
        child = trained(world, order, LATER)
    with world.database.read() as connection:
        when = learned_at(connection)[child.model_version]
    gold = load_gold_set(world.database, world.home)
    found = exposure(world.database, world.home, world.home / str(child.model.path), when, gold)
    assert found.problem is None
    assert late <= found.seen
