"""Checks of people's labels, made at every materialisation."""

import dagster as dg

from assets.reporting import check
from bizcharts_pipeline.core.clock import utc_now
from resources.labelling import Labelling
from resources.warehouse import Warehouse


@dg.asset_check(asset="human_labels", description="Every label is 1, 2 or 3, or skipped, and unique.")
def labels_are_valid(warehouse: Warehouse) -> dg.AssetCheckResult:
    from bizcharts_pipeline.warehouse.labels import invalid_labels

    with warehouse.open().read() as connection:
        return check(invalid_labels(connection))


@dg.asset_check(asset="human_labels", description="The gold split equals the ledger's frozen one.")
def gold_is_the_ledgers(warehouse: Warehouse, labelling: Labelling) -> dg.AssetCheckResult:
    from bizcharts_pipeline.warehouse.labelled import stored_gold

    frozen = {post.thread_id for post in labelling.ledger().gold()}
    with warehouse.open().read() as connection:
        stored = {thread_id for thread_id, *_ in stored_gold(connection)}
    return check(sorted(frozen ^ stored))


@dg.asset_check(asset="human_labels", description="No label is dated in the future, which would mean a wrong clock.")
def labels_are_of_the_past(labelling: Labelling) -> dg.AssetCheckResult:
    now = utc_now()
    early = [label for label in labelling.ledger().standing() if label.labeled_at > now]
    return check(
        [f"{label.thread_id} by {label.labeler_id}, {label.labeled_at:%Y-%m-%d %H:%M}" for label in early],
        severity=dg.AssetCheckSeverity.WARN,
    )
