"""Questions put to the labels of paid models after every run. Whether they can be trusted is another file's."""

import dagster as dg

from assets.reporting import check
from bizcharts_pipeline.core.clock import utc_now
from resources.auto_labelling import AutoLabelling
from resources.warehouse import Warehouse


@dg.asset_check(
    asset="auto_labels",
    description="Not more refusals than `most_refused`: they are not at random, and people must label those posts.",
)
def few_are_refused(warehouse: Warehouse, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import too_many

    settings = auto_labelling.settings()
    return check(too_many(warehouse.open(), settings, "refused", settings.auto_labels.most_refused))


@dg.asset_check(asset="auto_labels", description="Not more unusable answers than `most_malformed`.")
def few_are_malformed(warehouse: Warehouse, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import too_many

    settings = auto_labelling.settings()
    return check(too_many(warehouse.open(), settings, "malformed", settings.auto_labels.most_malformed))


@dg.asset_check(asset="auto_labels", description="One model answers under each name; a retired one may be re-routed.")
def one_model_answers(warehouse: Warehouse, auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import mixed_models

    mixed = mixed_models(warehouse.open(), auto_labelling.settings())
    return check(mixed, severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset="auto_labels", description="The month's budget is not nearly spent.")
def budget_is_left(auto_labelling: AutoLabelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.autolabel.health import budget_nearly_spent

    spent = budget_nearly_spent(auto_labelling.home_path(), auto_labelling.settings(), utc_now())
    return check(spent, severity=dg.AssetCheckSeverity.WARN)
