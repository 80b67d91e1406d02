"""Training of models, as a Dagster resource."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from bizcharts_pipeline.labels.corpus import Post
    from bizcharts_pipeline.models.evaluate import EvaluationReport
    from bizcharts_pipeline.models.retraining import Retraining
    from bizcharts_pipeline.sentiment.scorer import Scorer
    from bizcharts_pipeline.training.recipe import Recipe
    from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
    from bizcharts_pipeline.warehouse.learning_curves import LearningCurve
    from bizcharts_pipeline.warehouse.model_evaluations import Decision

SECTIONS = ("ml", "labelling", "pods", "fear_greed", "vision", "images")


class Training(dg.ConfigurableResource["Training"]):
    """The base models, and the values of `[ml.training]`; docs/training-flow.md explains them."""

    home: str = Field(description="The installation's home; contains the models.")
    setfit_base: str = Field(description=Settings.model_fields["setfit_base"].description)
    vlm_base: str = Field(description=Settings.model_fields["vlm_base"].description)
    pod_provider: str = Field(description=Settings.model_fields["pod_provider"].description)
    values: dict[str, dict[str, Any]] = Field(
        description="The settings of [ml], [labelling], [pods], [fear_greed], [vision] and [images], by section."
    )

    @classmethod
    def from_settings(cls, settings: Settings) -> "Training":
        """Return the resource with the values of the settings."""
        return cls(
            home=str(settings.home_path),
            setfit_base=settings.setfit_base,
            vlm_base=settings.vlm_base,
            pod_provider=settings.pod_provider,
            values=settings.model_dump(mode="json", include=set(SECTIONS)),
        )

    def home_path(self) -> Path:
        """Return the installation's home folder."""
        return Path(self.home)

    def settings(self) -> Settings:
        """Return the settings used in training, validated; the others have their defaults."""
        bases = {"setfit_base": self.setfit_base, "vlm_base": self.vlm_base, "pod_provider": self.pod_provider}
        return Settings.model_validate({"home": self.home, **bases, **self.values})

    def recipes(self, database: Database) -> "dict[str, Recipe]":
        """Return the recipes for training on this machine, by kind of model."""
        from bizcharts_pipeline.models.gate import proof_at
        from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe
        from bizcharts_pipeline.training.recipes.fusion import FusionRecipe
        from bizcharts_pipeline.training.recipes.image import ImageRecipe
        from bizcharts_pipeline.training.recipes.minilm import MinilmRecipe
        from bizcharts_pipeline.training.recipes.setfit import SetFitRecipe
        from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe

        base, home, values = self.setfit_base, self.home_path(), self.settings().ml.training
        recipes: tuple[Recipe, ...] = (
            TfidfRecipe(),
            MinilmRecipe(base, values.text_tokens, home),
            self._ensemble(database),
            ImageRecipe(),
            FusionRecipe(proof_at(values.significance), base, values.text_tokens, home),
            SetFitRecipe(base, values.text_tokens, values.setfit_pairs),
            CryptoBertRecipe(values.cryptobert_base, values.cryptobert_revision),
        )
        return {recipe.kind: recipe for recipe in recipes}

    def learning_curve(self, database: Database, now: datetime) -> "LearningCurve":
        """Return the learning curve of the text ensemble on the current labels; it is measured where it is not known.

        Raises:
            TooFewLabels: a class has too few different posts.
            BaseMissing: the encoder is not on this machine.
        """
        from bizcharts_pipeline.models.learning_curve import update_learning_curve
        from bizcharts_pipeline.training.text_set import load_text_set

        text_set = load_text_set(database, self.home_path(), now)
        return update_learning_curve(
            database, self._ensemble(database), text_set, self.settings().ml.training.seed, now
        )

    def evaluate(self, database: Database, now: datetime) -> "EvaluationReport":
        """Evaluate every candidate on gold; nothing is promoted.

        Raises:
            TrainingError: there are no labels to train or evaluate on.
        """
        from bizcharts_pipeline.models.evaluate import evaluate_all
        from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
        from bizcharts_pipeline.training.text_set import load_text_set

        settings, home = self.settings(), self.home_path()
        return evaluate_all(
            database,
            home,
            load_text_set(database, home, now),
            lexicon=LexiconRecipe(),
            training=settings.ml.training,
            labelling=settings.labelling,
            now=now,
            others=self._stock_models(),
        )

    def decide(self, database: Database, now: datetime, run_id: str) -> "tuple[Decision, ...]":
        """Evaluate every candidate now, and promote the best one if it is significantly better and moves the index by
        no more than a person has to confirm."""
        from bizcharts_pipeline.models.promotion import decide
        from bizcharts_pipeline.scoring.place import Place

        report, settings = self.evaluate(database, now), self.settings()
        return decide(
            database,
            Place.of(settings),
            report,
            self.recipes(database),
            parameters=settings.fear_greed,
            confirm_above=settings.ml.training.confirm_above,
            now=now,
            run_id=run_id,
        )

    def pseudo_labels(self, database: Database) -> dict[int, int]:
        """Return the pseudo-labels that text models learn from besides the labels, by thread."""
        from bizcharts_pipeline.training.pseudo_labels import find_pseudo_labels

        settings = self.settings()
        return find_pseudo_labels(
            database,
            self.home_path(),
            settings.ml.continual,
            spam_cut=settings.fear_greed.spam_cut,
            seed=settings.ml.training.seed,
        )

    def retrainings(self, database: Database) -> "tuple[Retraining, ...]":
        """Return whether training again is worth it."""
        from bizcharts_pipeline.models.retraining import Terms, retrainings

        with database.read() as connection:
            return retrainings(connection, self.home_path(), Terms.of(self.settings()))

    def override(self, database: Database, model_version: str, *, who: str, reason: str, now: datetime) -> None:
        """Make a model the champion by a person's decision."""
        from bizcharts_pipeline.models.promotion import override
        from bizcharts_pipeline.scoring.place import Place

        settings = self.settings()
        place, parameters = Place.of(settings), settings.fear_greed
        override(database, place, model_version, parameters=parameters, who=who, reason=reason, now=now)

    def _ensemble(self, database: Database) -> "EnsembleRecipe":
        from bizcharts_pipeline.training.examples import read_labelled
        from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
        from bizcharts_pipeline.training.recipes.transfer import Transfer

        def labelled() -> "list[Post]":
            found = read_labelled(database, home)
            return [*found.candidates, *found.gold_posts]

        ml, home = self.settings().ml, self.home_path()
        transfer = Transfer(ml.transfer, labelled) if ml.transfer.file else None
        return EnsembleRecipe(self.setfit_base, ml.training.text_tokens, home, transfer)

    def _stock_models(self) -> "dict[str, Scorer]":
        """Return the pretrained models without adapters that are on this machine: the baselines for adapters."""
        from bizcharts_pipeline.sentiment.bases import NoBase
        from bizcharts_pipeline.sentiment.cryptobert import stock_cryptobert

        values = self.settings().ml.training
        try:
            return {"stock CryptoBERT": stock_cryptobert(values.cryptobert_base, values.cryptobert_revision)}
        except NoBase:
            return {}
