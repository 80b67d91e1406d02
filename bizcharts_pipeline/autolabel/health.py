"""Problems with the labels of the configured models, for the asset checks."""

from datetime import datetime
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.autolabel.estimate import configured_models
from bizcharts_pipeline.autolabel.keys import Run
from bizcharts_pipeline.autolabel.ledger import LEDGER, AutoLabelLedger
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.warehouse.auto_labels import LabelVersion, models_that_answered, share_of_final
from bizcharts_pipeline.warehouse.database import Database

NEARLY_SPENT = Decimal("0.95")  # of the month's budget


def too_many(database: Database, settings: Settings, status: str, most: float) -> list[str]:
    """Return a message for each configured labelling model if more than the share ``most`` of its final posts have
    ``status``."""
    with database.read() as connection:
        shares = {version: share_of_final(connection, version, status) for version in _in_use(settings)}
    return [
        f"{version.provider} {version.model} {version.prompt_version}: {share:.1%} {status}, {most:.1%} allowed"
        for version, share in shares.items()
        if share > most
    ]


def mixed_models(database: Database, settings: Settings) -> list[str]:
    """Return a message for each configured model id under which several models have answered, as their labels must not
    be mixed."""
    with database.read() as connection:
        answered = {version: models_that_answered(connection, version) for version in _in_use(settings)}
    return [
        f"{version.provider} {version.model}: {', '.join(f'{name} ({count:,})' for name, count in models.items())}"
        for version, models in answered.items()
        if len(models) > 1
    ]


def budget_nearly_spent(home: Path, settings: Settings, now: datetime) -> list[str]:
    """Return a message if nearly all of the month's budget for labels by paid models is spent or reserved."""
    cap = settings.auto_labels.usd_per_month
    if not is_known(home / LEDGER):
        return []
    with AutoLabelLedger(home / LEDGER) as ledger:
        spent = ledger.spent(month=Run("", now).month).usd
    return [f"${spent:.4f} of the ${cap} of {now:%B %Y}"] if spent >= cap * NEARLY_SPENT else []


def _in_use(settings: Settings) -> list[LabelVersion]:
    return [
        LabelVersion(model.name, model.model, model.endpoint, settings.auto_labels.prompt)
        for model in configured_models(settings)
    ]
