"""Checks of the labels by paid models after every run; `trust_checks` has the comparison with people."""

import dagster as dg

from assets.reporting import check
from bizcharts_pipeline.core.clock import utc_now
from resources.auto_labelling import AutoLabelling
from resources.warehouse import Warehouse


@dg.asset_check(
    asset="auto_labels",
    description="At most the share `most_refused` is refused: refusals are not random, so people must label them.",
)
def few_are_refused(warehouse: Warehouse, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import too_many

    settings = auto_labelling.settings()
    return check(too_many(warehouse.open(), settings, "refused", settings.auto_labels.most_refused))


@dg.asset_check(asset="auto_labels", description="At most the share `most_malformed` of answers is unusable.")
def few_are_malformed(warehouse: Warehouse, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import too_many

    settings = auto_labelling.settings()
    return check(too_many(warehouse.open(), settings, "malformed", settings.auto_labels.most_malformed))


@dg.asset_check(asset="auto_labels", description="One model answers for each model id; a retired id may be re-routed.")
def one_model_answers(warehouse: Warehouse, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import mixed_models

    mixed = mixed_models(warehouse.open(), auto_labelling.settings())
    return check(mixed, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset="auto_labels", description="The month's budget is not nearly spent.")
def budget_is_left(auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import budget_nearly_spent

    spent = budget_nearly_spent(auto_labelling.home_path(), auto_labelling.settings(), utc_now())
    return check(spent, severity=dg.AssetCheckSeverity.WARN)
