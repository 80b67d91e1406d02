"""Labels by people."""

from datetime import timedelta

import dagster as dg

from assets.reporting import Stopwatch, table
from bizcharts_pipeline.core.clock import utc_now
from resources.labelling import Labelling
from resources.warehouse import Warehouse


@dg.asset(
    deps=["catalog_snapshot", "warosu_posts", "thumbnails"],
    group_name="labels",
    owners=["team:bizcharts"],
    kinds={"python", "sqlite", "duckdb"},
    description=(
        "Labels by people on opening posts: bearish, neutral or bullish, judged from picture and text together. The "
        "source of truth is the label ledger, to which the labeller's page and imports write. This asset updates "
        "`training_labels` to all labels in it that were not withdrawn, and completes the frozen test set "
        "`gold_split`. docs/labelling-guide.md defines the classes."
    ),
)
def human_labels(warehouse: Warehouse, labelling: Labelling) -> dg.MaterializeResult:
    from bizcharts_pipeline.labels.gold import extend_gold
    from bizcharts_pipeline.labels.projection import materialise_gold, materialise_labels
    from bizcharts_pipeline.labels.recovery import require_ledger
    from bizcharts_pipeline.labels.statistics import ledger_statistics
    from bizcharts_pipeline.warehouse.labels import labellers

    stopwatch = Stopwatch()
    ledger, settings, now = labelling.ledger(), labelling.settings(), utc_now()
    database = warehouse.open_at(now)
    require_ledger(database, ledger)
    with stopwatch("write labels"):
        report = materialise_labels(database, ledger, now)
    with stopwatch("draw and write gold"):
        extend_gold(database, ledger, settings, now)
        gold = materialise_gold(database, ledger)
    with stopwatch("count"):
        statistics = ledger_statistics(ledger, timedelta(days=settings.relabel_after_days))
    with stopwatch("look back"), database.read() as connection:
        preview = labellers(connection)
    return dg.MaterializeResult(
        metadata={
            "posts": statistics.posts,
            **{f"posts: {name}": count for name, count in statistics.classes.items()},
            "posts: skipped": statistics.skipped,
            "labels": report.labels,
            "labels_added": report.added,
            "labels_removed": report.removed,
            "labels_taken_back": report.taken_back,
            "gold_posts": gold,
            "labellers": table(preview),
            "statistics": dg.MetadataValue.md(f"```\n{statistics}\n```"),
            **{
                f"kappa: {pair.first}, {pair.second}": dg.MetadataValue.text(str(pair.kappa))
                for pair in statistics.agreement
            },
            **stopwatch.metadata(),
        }
    )
