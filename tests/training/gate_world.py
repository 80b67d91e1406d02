"""Labelled posts in words that only their labels explain, and models that learned from them rightly or wrongly."""

import random
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from labelled_world import NOW, made_up
from training.training_world import TrainingWorld

from bizcharts_pipeline.labels.ledger import Label
from bizcharts_pipeline.models.evaluate import EvaluationReport, evaluate_all
from bizcharts_pipeline.models.promotion import decide
from bizcharts_pipeline.models.registry import Registered, as_row, fit_and_publish, train_and_register
from bizcharts_pipeline.scoring.place import Place
from bizcharts_pipeline.sentiment.calibrated import write_temperature
from bizcharts_pipeline.settings import FearGreedSettings, LabellingSettings, TrainingSettings
from bizcharts_pipeline.training.gold_set import GoldSet, load_gold_set
from bizcharts_pipeline.training.recipe import Recipe, TextExample
from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe, train
from bizcharts_pipeline.training.text_set import TextSet, load_text_set
from bizcharts_pipeline.warehouse.model_evaluations import Decision, decisions
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, ensure_lexicon_champion, models

LATER = NOW + timedelta(days=1)  # than gold was frozen
LEXICON = "lexicon-shipped"
_WORDS = (("glimm", "drosk", "velp"), ("tandor", "quill", "osmet"), ("zorpa", "hink", "lubra"))


def talk(numbers: Sequence[int], **fields: object) -> list[Label]:
    """Labels of posts whose class, ``number % 3``, shows in two made-up words; every ninth is labelled wrongly."""
    labels = []
    for label in made_up(numbers, **fields):
        draw = random.Random(label.thread_id)
        way = label.thread_id % 3
        rating = (way + 1) % 3 + 1 if label.thread_id % 9 == 0 else way + 1
        text = " ".join([*draw.sample(_WORDS[way], 2), label.text_snapshot or ""])
        labels.append(replace(label, text_snapshot=text, sentiment_rating=rating))
    return labels


class QuickRecipe(TfidfRecipe):
    """TF-IDF without the folds that calibrate it: a sixth of the time."""

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        train(examples).save(folder)
        write_temperature(folder, 1 + seed / 1000)  # another seed, other files


@dataclass(frozen=True)
class GateWorld(TrainingWorld):
    """An installation with gold, and the lexicon as its champion."""

    @classmethod
    def prepared(cls, home: Path, posts: int = 204) -> "GateWorld":
        world = cls(home)
        world.label(talk(range(1, posts + 1)))
        world.draw()
        with world.database.write() as connection:
            ensure_lexicon_champion(connection, LEXICON, "0" * 64, NOW)
        return world

    @property
    def place(self) -> Place:
        return Place(self.home)

    def text_set(self, *, with_gold: bool = False) -> TextSet:
        return load_text_set(self.database, self.home, LATER, with_gold=with_gold)

    def gold_set(self) -> GoldSet:
        return load_gold_set(self.database, self.home)

    def train(
        self, text_set: TextSet | None = None, recipe: Recipe | None = None, *, now: datetime = LATER, seed: int = 1
    ) -> Registered:
        return train_and_register(
            recipe or QuickRecipe(),
            text_set or self.text_set(),
            database=self.database,
            home=self.home,
            seed=seed,
            now=now,
        )

    def published(self, recipe: Recipe) -> ModelVersion:
        """A model's files, and the row that it does not have yet."""
        text_set = self.text_set()
        return as_row(fit_and_publish(recipe, text_set.examples, text_set.dataset_version, self.home, 1), LATER)

    def evaluate(self, **training: Any) -> EvaluationReport:
        return evaluate_all(
            self.database,
            self.home,
            self.text_set(),
            lexicon=LexiconRecipe(),
            training=TrainingSettings.model_validate(training),
            labelling=LabellingSettings(),
            now=LATER,
        )

    def decide(
        self, report: EvaluationReport | None = None, recipes: Mapping[str, Recipe] | None = None
    ) -> dict[str, Decision]:
        known = {"tfidf": QuickRecipe()} if recipes is None else recipes
        decided = decide(
            self.database,
            self.place,
            report or self.evaluate(),
            known,
            parameters=FearGreedSettings(),
            confirm_above=20,
            now=LATER,
        )
        return {decision.model_version: decision for decision in decided}

    def champion(self) -> ModelVersion:
        with self.database.read() as connection:
            found = champion(connection)
        assert found
        return found

    def models(self) -> dict[str, ModelVersion]:
        with self.database.read() as connection:
            return {row.model_version: row for row in models(connection)}

    def decisions(self) -> list[Decision]:
        with self.database.read() as connection:
            return decisions(connection)


def relabelled(text_set: TextSet, labels: Iterable[int]) -> TextSet:
    """The same posts with other labels, under a name that no data set has."""
    examples = [replace(example, label=label) for example, label in zip(text_set.examples, labels, strict=True)]
    return of(examples)


def of(examples: Iterable[TextExample]) -> TextSet:
    """A data set that nobody recorded."""
    return TextSet("text-unrecorded", tuple(examples), {}, "nowhere")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The home that each test gets a copy of."""
    return GateWorld.prepared(tmp_path_factory.mktemp("gate") / "home").home


@pytest.fixture
def gated(prepared: Path, tmp_path: Path) -> GateWorld:
    """204 labelled posts, 51 of them gold, and the lexicon as champion."""
    return GateWorld(Path(shutil.copytree(prepared, tmp_path / "home")))
