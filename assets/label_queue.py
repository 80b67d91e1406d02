"""Queue of the posts that people label next."""

from datetime import timedelta

import dagster as dg

from assets.reporting import Stopwatch, table
from bizcharts_pipeline.core.clock import utc_now
from resources.active_learning import ActiveLearning
from resources.labelling import Labelling
from resources.warehouse import Warehouse


@dg.asset(
    deps=["human_labels", "scored_posts"],
    group_name="labels",
    owners=["team:bizcharts"],
    kinds={"python", "scikitlearn", "duckdb"},
    description=(
        "The posts to label next, for `bizcharts label --queue`: half are diverse posts with uncertain predictions, a "
        "quarter are random (with the probability, for measuring), the rest are recent or to be labelled again. "
        "Never gold, never near-duplicates. It uses models' labels if there are any, but does not depend on them. "
        "Replaced completely by each run. docs/methodology.md has the rules, and their limits."
    ),
)
def label_queue(warehouse: Warehouse, labelling: Labelling, active_learning: ActiveLearning) -> dg.MaterializeResult:
    from bizcharts_pipeline.labels.queue import build_queue
    from bizcharts_pipeline.warehouse.label_queue import first_queued

    stopwatch = Stopwatch()
    database, after = warehouse.open_at(utc_now()), timedelta(days=labelling.settings().relabel_after_days)
    with stopwatch("choose and write"):
        report = build_queue(database, labelling.ledger(), active_learning.parameters(), utc_now(), relabel_after=after)
    with stopwatch("look back"), database.read() as connection:
        preview = first_queued(connection)
    return dg.MaterializeResult(
        metadata={
            "posts": report.size,
            **{f"posts: {stratum}": count for stratum, count in report.strata.items()},
            "unlabelled_groups": report.groups,
            "looked_at_for_uncertainty": report.pool,
            "margins_of": report.model,
            "labels_learned_from": report.labels,
            "margin_quantiles": ", ".join(f"{margin:.3f}" for margin in report.margins),
            "first_posts": table(preview),
            **({"notes": "\n".join(report.notes)} if report.notes else {}),
            **stopwatch.metadata(),
        }
    )
