"""Models that read pictures, as Dagster trains them: judged on gold, promoted by the gate, explained in the run."""

from pathlib import Path
from random import Random

import dagster as dg
import pytest
from labelled_world import NOW, LabelledWorld, made_up
from training.pictured_posts import features

from assets.champion_model import champion_model
from assets.human_labels import human_labels
from assets.model_evaluation import model_evaluation
from assets.text_models import fusion_model, image_model
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.image_features import save_features
from bizcharts_pipeline.warehouse.models import champion
from bizcharts_pipeline.warehouse.pictures import PictureRow, record_picture
from resources.labelling import Labelling
from resources.pods import RunPodResource
from resources.training import Training
from resources.warehouse import Warehouse


@pytest.fixture
def world(tmp_path: Path) -> LabelledWorld:
    """240 labelled posts whose texts say nothing about their class."""
    world = LabelledWorld(tmp_path / "home")
    draw = Random(1)
    words = ("look", "here", "anon", "please", "tell", "thread", "today")
    texts = [f"{label.text_snapshot} {' '.join(draw.sample(words, 3))}" for label in made_up(range(1, 241))]
    world.label(made_up([number], text_snapshot=text)[0] for number, text in enumerate(texts, start=1))
    world.draw(gold_posts=60)
    return world


def illustrate(world: LabelledWorld) -> None:
    """Give each post a picture in the colours of its label, with features."""
    with world.database.write() as connection:
        for number in range(1, 241):
            sha256 = f"{number:064x}"
            row = PictureRow(number, "thumbnail", "stored", NOW, path=f"images/{number}.jpg", sha256=sha256)
            record_picture(connection, row)
            save_features(connection, sha256, "test", features(number % 3, number), NOW)


def materialise(
    world: LabelledWorld, instance: dg.DagsterInstance, *assets: dg.AssetsDefinition
) -> dict[str, dict[str, object]]:
    settings = Settings.model_validate({"home": world.home, "labelling": {"gold_posts": 60}})
    resources = {
        "warehouse": Warehouse(database=str(world.database.path), wait_seconds=30),
        "labelling": Labelling(home=str(world.home), values=settings.labelling.model_dump()),
        "training": Training.from_settings(settings),
        "runpod": RunPodResource.from_settings(settings),
    }
    result = dg.materialize(assets, instance=instance, resources=resources)
    assert result.success
    return {
        event.asset_key.to_user_string(): {name: value.value for name, value in event.materialization.metadata.items()}
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }


@pytest.mark.slow
def test_a_model_that_reads_pictures_becomes_champion_where_only_they_say_something(
    world: LabelledWorld, instance: dg.DagsterInstance
) -> None:
    illustrate(world)
    made = materialise(world, instance, human_labels, image_model, fusion_model, model_evaluation, champion_model)
    assert float(str(made["image_model"]["accuracy"])) > 0.8
    assert "image" in str(made["fusion_model"]["weights"])
    assert made["fusion_model"]["ironic_texts_inverted"] is False
    with world.database.read() as connection:
        chosen = champion(connection)
    assert chosen
    assert chosen.kind in ("image", "fusion")
    assert chosen.refit_of


@pytest.mark.slow
def test_without_pictures_the_run_says_so_and_succeeds(world: LabelledWorld, instance: dg.DagsterInstance) -> None:
    made = materialise(world, instance, human_labels, image_model, fusion_model)
    for name in ("image_model", "fusion_model"):
        assert "have a picture with features" in str(made[name]["nothing_trained"])


@pytest.mark.slow
@pytest.mark.parametrize(("labels", "why"), [(0, "no posts to train on"), (10, "have a picture with features")])
def test_with_too_few_labels_for_any_model_the_run_says_so_and_succeeds(
    tmp_path: Path, instance: dg.DagsterInstance, labels: int, why: str
) -> None:
    world = LabelledWorld(tmp_path / "home")
    world.label(made_up(range(1, labels + 1), sentiment_rating=2))
    made = materialise(world, instance, image_model, fusion_model)
    for name in ("image_model", "fusion_model"):
        assert why in str(made[name]["nothing_trained"])
