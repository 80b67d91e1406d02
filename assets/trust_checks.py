"""Check whether paid models' labels can be trusted, before anything is trained on them."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING

import dagster as dg

from assets.reporting import table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.labels.stances import STANCES
from bizcharts_pipeline.warehouse.previews import Preview
from resources.auto_labelling import AutoLabelling
from resources.labelling import Labelling
from resources.warehouse import Warehouse

if TYPE_CHECKING:
    from bizcharts_pipeline.labels.trust import Trust

_FIGURES = (
    "accuracy", "accuracy_lo", "accuracy_hi", "macro_f1", "recall_bearish", "recall_neutral", "recall_bullish",
    "kappa", "kappa_lo", "kappa_hi", "ece", "block_rate", "usd_per_1000",
)  # fmt: skip


@dg.asset_check(
    asset="auto_labels",
    description=(
        "Compares every model and prompt version with people on the gold split. Only labels of versions that pass are "
        "used in training; the check fails if a configured version was measured and did not pass. It stops no run: "
        "the data set is built without that version's labels. Too little gold is a warning."
    ),
)
def trusted_on_gold(warehouse: Warehouse, labelling: Labelling, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.estimate import configured_models
    from bizcharts_pipeline.labels.trust import MIN_GOLD_POSTS, measure_trust
    from bizcharts_pipeline.warehouse.trust import Version, refusals

    database, after = warehouse.open(), timedelta(days=labelling.settings().relabel_after_days)
    settings = auto_labelling.settings()
    prompt = settings.auto_labels.prompt
    asked = {Version(model.name, model.model, model.endpoint, prompt) for model in configured_models(settings)}
    found = measure_trust(database, labelling.ledger(), settings.auto_labels, utc_now(), relabelled_after=after)
    with database.read() as connection:
        declined = refusals(connection)
    present = [trust.row for trust in found if trust.row.version in asked]
    measured = [row for row in present if row.n >= MIN_GOLD_POSTS]
    trusted = [row for row in measured if row.trusted]
    return dg.AssetCheckResult(
        passed=len(trusted) == len(measured) and (bool(measured) or not present),
        severity=dg.AssetCheckSeverity.ERROR if measured else dg.AssetCheckSeverity.WARN,
        metadata={
            "trusted_versions": len(trusted),
            "not_trusted": [f"{row.provider} {row.model} {row.prompt_version}" for row in measured if not row.trusted],
            "versions": table(_versions(found)),
            "confusion": table(_confusions(found)),
            "refused_by_lexicon_reading": table(declined),
        },
    )


def _versions(found: "Sequence[Trust]") -> Preview:
    columns = ["provider", "model", "endpoint", "prompt_version", "trusted", "reason", "n", *_FIGURES]
    rows = [[getattr(trust.row, column) for column in columns] for trust in found]
    return Preview(columns, [tuple(round(v, 3) if isinstance(v, float) else v for v in row) for row in rows])


def _confusions(found: "Sequence[Trust]") -> Preview:
    rows = [
        (trust.row.provider, trust.row.model, trust.row.endpoint, trust.row.prompt_version, people, *said)
        for trust in found
        for people, said in zip(STANCES, trust.confusion, strict=True)
    ]
    versions = ["provider", "model", "endpoint", "prompt_version"]
    return Preview([*versions, "people say", *(f"said {name}" for name in STANCES)], rows)
