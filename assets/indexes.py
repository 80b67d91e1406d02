"""The published numbers: the Fear/Greed index and the coins' sentiment, one computation for both."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Literal

import dagster as dg
from pydantic import Field

from assets.reporting import Stopwatch, check, picture, table
from bizcharts_pipeline.clock import utc_now
from bizcharts_pipeline.index.plot import svg_plot
from bizcharts_pipeline.live import bring_indexes_up_to_date
from bizcharts_pipeline.warehouse.checks import invalid_coin_rows, invalid_index_rows
from bizcharts_pipeline.warehouse.previews import current_readings, most_mentioned_coins, plotted_days
from resources.fear_greed import FearGreed
from resources.scorers import Scorers
from resources.warehouse import Warehouse


class IndexesConfig(dg.Config):
    """How far back one run looks."""

    scope: Literal["recent", "everything"] = Field(
        "everything",
        description=(
            "recent: the hours since the newest final reading and the running ones. everything: every bucket again; "
            "where one now says something else, a corrected vintage stands beside the published one."
        ),
    )


@dg.multi_asset(
    name="indexes",
    group_name="index",
    specs=[
        dg.AssetSpec(
            "fear_greed_index",
            deps=["scored_posts"],
            owners=["team:bizcharts"],
            kinds={"python", "duckdb"},
            description=(
                "The board's mood by hour and day, 0 (fear) to 100 (greed), with a 90 % interval: the weighted "
                "stance of 24 hours' opening posts, smoothed, as a percentile of its own past year. Append-only: "
                "corrections are new vintages. No price is in it. docs/methodology.md has every formula. "
                "Research, not financial advice."
            ),
            freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=30)),
        ),
        dg.AssetSpec(
            "coin_sentiment",
            deps=["scored_posts"],
            owners=["team:bizcharts"],
            kinds={"python", "duckdb"},
            description=(
                "The board's stance towards each coin by hour and day, -1 to 1, with an interval: 48 hours' posts that "
                "name the coin, shrunk towards the market. No score below five mentions."
            ),
        ),
    ],
    check_specs=[
        dg.AssetCheckSpec(
            "value_in_range",
            asset="fear_greed_index",
            description="0 to 100 within its interval, or no reading.",
        ),
        dg.AssetCheckSpec(
            "score_in_range", asset="coin_sentiment", description="-1 to 1 within its interval, or no score."
        ),
    ],
)
def indexes(
    config: IndexesConfig, warehouse: Warehouse, scorers: Scorers, fear_greed: FearGreed
) -> Iterator[dg.MaterializeResult]:
    stopwatch = Stopwatch()
    database = warehouse.open()
    with stopwatch("load, compute, append"):
        update = bring_indexes_up_to_date(
            database,
            scorers.champion(database).model_version,
            utc_now(),
            fear_greed.parameters(),
            everything=config.scope == "everything",
        )
    with stopwatch("look back"), database.read() as connection:
        readings, days = current_readings(connection), plotted_days(connection)
        coins = most_mentioned_coins(connection)
        bad_readings, bad_coins = invalid_index_rows(connection), invalid_coin_rows(connection)
    yield dg.MaterializeResult(
        asset_key="fear_greed_index",
        metadata={
            "new_final_readings": update.new_readings,
            "now": table(readings),
            "index": picture(svg_plot(days), "Fear/Greed index by day with its 90 % interval"),
            **stopwatch.metadata(),
        },
        check_results=[check("fear_greed_index", "value_in_range", bad_readings)],
    )
    yield dg.MaterializeResult(
        asset_key="coin_sentiment",
        metadata={"new_final_readings": update.new_coin_readings, "today": table(coins)},
        check_results=[check("coin_sentiment", "score_in_range", bad_coins)],
    )
