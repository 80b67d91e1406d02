"""Questions put to what is stored: part of the hourly job and of every materialisation by hand.

The minutely job leaves them out, as each costs it 40 ms of Dagster's book-keeping; what a tick can tell from its own
poll or reading, it checks itself.
"""

import dagster as dg

from assets.reporting import check
from bizcharts_pipeline.warehouse.checks import (
    duplicate_threads,
    invalid_coin_rows,
    invalid_index_rows,
    invalid_scores,
    missing_columns,
)
from resources.warehouse import Warehouse


@dg.asset_check(asset="catalog_snapshot", description="Every column that others rely on is there.")
def schema(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(missing_columns(connection))


@dg.asset_check(asset="catalog_snapshot", description="One row a thread.")
def no_duplicate_threads(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(duplicate_threads(connection))


@dg.asset_check(asset="scored_posts", description="Every score is three probabilities that sum to 1.")
def probabilities_are_valid(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(invalid_scores(connection))


@dg.asset_check(asset="fear_greed_index", description="0 to 100 within its interval, or no reading.")
def values_are_in_range(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(invalid_index_rows(connection))


@dg.asset_check(asset="coin_sentiment", description="-1 to 1 within its interval, or no score.")
def scores_are_in_range(warehouse: Warehouse) -> dg.AssetCheckResult:
    with warehouse.open().read() as connection:
        return check(invalid_coin_rows(connection))
