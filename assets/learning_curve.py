"""What more labels would add to the text ensemble."""

import dagster as dg

from assets.reporting import Stopwatch, picture
from assets.trained import POOL
from bizcharts_pipeline.core.clock import utc_now
from resources.training import Training
from resources.warehouse import Warehouse


@dg.asset(
    deps=["human_labels", "auto_labels"],
    group_name="training",
    owners=["team:bizcharts"],
    kinds={"python", "scikitlearn"},
    code_version="1",
    pool=POOL,
    description=(
        "The text ensemble is trained on an eighth, a quarter, half and all of the labels, and predicts held-out ones: "
        "accuracy and macro-F1 by the number of labels, extrapolated to at most four times as many with an 80 % band. "
        "`bizcharts labels worth` and the app's page Data say what more labels would add, and whether labelling pays. "
        "Labels that have a curve are not measured again."
    ),
)
def learning_curve(context: dg.AssetExecutionContext, warehouse: Warehouse, training: Training) -> dg.MaterializeResult:
    from bizcharts_pipeline.labels.worth import newest_worth
    from bizcharts_pipeline.models.learning_curve import TooFewLabels
    from bizcharts_pipeline.models.learning_curve_plot import METRICS, svg_learning_curve
    from bizcharts_pipeline.training.recipe import BaseMissing

    stopwatch, now = Stopwatch(), utc_now()
    database = warehouse.open_at(now)
    try:
        with stopwatch("measure"):
            curve = training.learning_curve(database, now)
    except (BaseMissing, TooFewLabels) as missing:
        context.log.warning(str(missing))
        return dg.MaterializeResult(data_version=dg.DataVersion("none"), metadata={"nothing_measured": str(missing)})
    with database.read() as connection:
        worth = newest_worth(connection)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(f"{curve.dataset_version}-{curve.recipe}"),
        metadata={
            "in words": " ".join(worth.sentences) if worth else "",
            "labels": curve.labels,
            "repeats": curve.repeats,
            "accuracy_doubled": curve.accuracy_doubled,
            "macro_f1_doubled": curve.macro_f1_doubled,
            **{
                metric: picture(svg_learning_curve(curve, metric), f"{metric} by the number of labels")
                for metric in METRICS
            },
            **stopwatch.metadata(),
        },
    )
