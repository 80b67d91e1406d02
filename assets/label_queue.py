"""Which posts people label next."""

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
        "The posts to label next, for `bizcharts label --queue`: half where a model is unsure and the posts differ, a "
        "quarter at random (with the probability, for measuring), the rest recent or labelled before. Never gold, "
        "never near-duplicates. Of models' labels it takes those that are there: it waits for none, however bad "
        "they are. Written anew as a whole. docs/methodology.md has the rules, and what they do not gain."
    ),
)
def label_queue(warehouse: Warehouse, labelling: Labelling, active_learning: ActiveLearning) -> dg.MaterializeResult:
    from bizcharts_pipeline.labels.queue import build_queue
    from bizcharts_pipeline.warehouse.label_queue import first_queued

    stopwatch = Stopwatch()
    database, after = warehouse.open(), timedelta(days=labelling.settings().relabel_after_days)
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
