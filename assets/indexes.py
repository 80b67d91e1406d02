"""The published indexes: Fear/Greed and coin sentiment, computed together."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Literal

import dagster as dg
from pydantic import Field

from assets.reporting import Stopwatch, picture, table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.index.plot import svg_plot
from bizcharts_pipeline.index.words import in_words
from bizcharts_pipeline.live import bring_indexes_up_to_date
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.as_of import newest_readings
from bizcharts_pipeline.warehouse.previews import Preview, most_mentioned_coins
from bizcharts_pipeline.warehouse.published import Reading
from bizcharts_pipeline.warehouse.rescoring import rescoring
from resources.fear_greed import FearGreed
from resources.scorers import Scorers
from resources.warehouse import Warehouse

PLOTTED_DAYS, SHOWN_HOURS, SHOWN_DAYS = 180, 4, 4


class IndexesConfig(dg.Config):
    """Period that one run computes."""

    scope: Literal["recent", "everything"] = Field(
        "everything",
        description=(
            "recent: the hours since the newest final reading and the running ones. everything: every bucket again; "
            "if a value has changed, a corrected vintage is added to the published one."
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
                "The board's present mood by hour and day, 0 (fear) to 100 (greed), with a 90 % interval: the filtered "
                "stance of the opening posts, as a percentile of its own past year. Append-only: corrections are new "
                "vintages. It does not use prices. docs/methodology.md has every formula. "
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
                "The board's stance towards each coin by hour and day, -1 to 1, with an interval: the market's "
                "stance and the coin's own deviation from it. With few mentions, the interval is wide."
            ),
        ),
    ],
)
def indexes(
    config: IndexesConfig, warehouse: Warehouse, scorers: Scorers, fear_greed: FearGreed
) -> Iterator[dg.MaterializeResult]:
    stopwatch = Stopwatch()
    now = utc_now()
    database = warehouse.open_at(now)
    scorer = scorers.champion(database)
    with stopwatch("load, compute, append"):
        update = bring_indexes_up_to_date(
            database,
            scorer,
            now,
            fear_greed.parameters(),
            everything=config.scope == "everything",
        )
    with stopwatch("look back"), database.read() as connection:
        days, hours = newest_readings(connection, "day", PLOTTED_DAYS), newest_readings(connection, "hour", SHOWN_HOURS)
        coins = most_mentioned_coins(connection)
        own = not hours or hours[0].model_version == scorer.model_version
        progress = None if own else rescoring(connection, now, fear_greed.parameters().history_days)
    words = in_words(hours[0], fear_greed.parameters()) if hours else "no reading yet"
    yield dg.MaterializeResult(
        asset_key="fear_greed_index",
        metadata={
            "index": picture(svg_plot(days[::-1], caption=words), "Fear/Greed index by day with its 90 % interval"),
            "in words": words,
            **(numbers(hours[0]) if hours else {}),
            "newest readings": table(in_rows([*hours, *days[:SHOWN_DAYS]], fear_greed.parameters())),
            "new_final_readings": update.new_readings,
            **({"switch": str(progress), "posts_left_to_score": progress.posts_left} if progress else {}),
            **stopwatch.metadata(),
        },
    )
    yield dg.MaterializeResult(
        asset_key="coin_sentiment",
        metadata={"new_final_readings": update.new_coin_readings, "today": table(coins)},
    )


def in_rows(readings: Sequence[Reading], parameters: FearGreedSettings) -> Preview:
    """Return readings as a table."""
    columns = ["bucket", "start (UTC)", "index", "lo", "hi", "stance", "lo", "hi", "posts", "in words"]
    rows: list[tuple[object, ...]] = [
        (
            reading.bucket + ("" if reading.final else ", so far"),
            f"{reading.bucket_start:%Y-%m-%d %H:%M}",
            *(None if figure is None else round(figure) for figure in (reading.value, reading.lo, reading.hi)),
            *(
                None if figure is None else round(figure, 3)
                for figure in (reading.stance, reading.stance_lo, reading.stance_hi)
            ),
            reading.n,
            in_words(reading, parameters),
        )
        for reading in readings
    ]
    return Preview(columns, rows)


def numbers(reading: Reading) -> dict[str, dg.MetadataValue]:
    """Return the available numbers of the newest hour, which the UI plots over the materialisations."""
    names = ("value", "lo", "hi", "stance", "stance_lo", "stance_hi", "n_eff", "coverage", "history_days")
    told = {name: getattr(reading, name) for name in names}
    floats = {name: dg.MetadataValue.float(round(float(value), 3)) for name, value in told.items() if value is not None}
    return {"n": dg.MetadataValue.int(reading.n), **floats}
