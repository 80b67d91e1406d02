"""Training of models, as a Dagster resource."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field

from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from bizcharts_pipeline.models.evaluate import EvaluationReport
    from bizcharts_pipeline.sentiment.scorer import Scorer
    from bizcharts_pipeline.training.recipe import Recipe
    from bizcharts_pipeline.warehouse.model_evaluations import Decision

SECTIONS = ("ml", "labelling", "pods")


class Training(dg.ConfigurableResource["Training"]):
    """The base models, and the values of `[ml.training]`; docs/training-flow.md explains them."""

    home: str = Field(description="The installation's home; contains the models.")
    setfit_base: str = Field(description=Settings.model_fields["setfit_base"].description)
    vlm_base: str = Field(description=Settings.model_fields["vlm_base"].description)
    pod_provider: str = Field(description=Settings.model_fields["pod_provider"].description)
    values: dict[str, dict[str, Any]] = Field(description="The settings of [ml], [labelling] and [pods], by section.")

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

    def recipes(self) -> "dict[str, Recipe]":
        """Return the recipes for training on this machine, by kind of model."""
        from bizcharts_pipeline.models.gate import proof_at
        from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe
        from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
        from bizcharts_pipeline.training.recipes.fusion import FusionRecipe
        from bizcharts_pipeline.training.recipes.image import ImageRecipe
        from bizcharts_pipeline.training.recipes.minilm import MinilmRecipe
        from bizcharts_pipeline.training.recipes.setfit import SetFitRecipe
        from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe

        base, values = self.setfit_base, self.settings().ml.training
        recipes: tuple[Recipe, ...] = (
            TfidfRecipe(),
            MinilmRecipe(base, values.text_tokens),
            EnsembleRecipe(base, values.text_tokens),
            ImageRecipe(),
            FusionRecipe(proof_at(values.significance), base, values.text_tokens),
            SetFitRecipe(base, values.text_tokens, values.setfit_pairs),
            CryptoBertRecipe(values.cryptobert_base, values.cryptobert_revision),
        )
        return {recipe.kind: recipe for recipe in recipes}

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
        """Evaluate every candidate now, and promote the best one if it is significantly better."""
        from bizcharts_pipeline.models.promotion import decide

        report = self.evaluate(database, now)
        return decide(database, self.home_path(), report, self.recipes(), now=now, run_id=run_id)

    def _stock_models(self) -> "dict[str, Scorer]":
        """Return the pretrained models without adapters that are on this machine: the baselines for adapters."""
        from bizcharts_pipeline.sentiment.bases import NoBase
        from bizcharts_pipeline.sentiment.cryptobert import stock_cryptobert

        values = self.settings().ml.training
        try:
            return {"stock CryptoBERT": stock_cryptobert(values.cryptobert_base, values.cryptobert_revision)}
        except NoBase:
            return {}
