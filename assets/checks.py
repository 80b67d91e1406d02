"""Checks of stored data, run by the hourly job and by every manual materialisation.

The minutely job omits them, as each costs it 40 ms of Dagster's overhead; a tick checks its own poll and reading
itself.
"""

from datetime import timedelta

import dagster as dg

from assets.reporting import check
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.warehouse.checks import (
    duplicate_threads,
    invalid_coin_rows,
    invalid_index_rows,
    invalid_scores,
    late_scores,
    missing_columns,
)
from resources.warehouse import Warehouse

LATE = timedelta(hours=1)


@dg.asset_check(asset="catalog_snapshot", description="All columns of the public schema exist.")
def schema(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(missing_columns(connection))


@dg.asset_check(asset="catalog_snapshot", description="One row for each thread.")
def no_duplicate_threads(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(duplicate_threads(connection))


@dg.asset_check(asset="scored_posts", description="Every score is three probabilities that sum to 1.")
def probabilities_are_valid(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(invalid_scores(connection))


@dg.asset_check(asset="scored_posts", description="No post waits for longer than an hour to be scored by the champion.")
def posts_have_their_final_score(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(late_scores(connection, utc_now() - LATE), severity=dg.AssetCheckSeverity.WARN)


@dg.asset_check(asset="fear_greed_index", description="Each value is 0 to 100 and within its interval, or missing.")
def values_are_in_range(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(invalid_index_rows(connection))


@dg.asset_check(asset="coin_sentiment", description="Each score is -1 to 1 and within its interval, or missing.")
def scores_are_in_range(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(invalid_coin_rows(connection))
