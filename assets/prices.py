"""Coin prices and the reference index, for comparison with the board's mood. Neither is part of our index."""

from datetime import timedelta

import dagster as dg
from pydantic import Field

from assets.reporting import Stopwatch, check, table
from assets.retries import with_retries
from bizcharts_pipeline.core.clock import utc_now
from resources.prices import Prices
from resources.warehouse import Warehouse

MAX_HISTORY_DAYS = 5_000
RETRY_SECONDS = (60, 60)  # before each further request for the reference index


class CoinPricesConfig(dg.Config):
    """Period that one run fetches."""

    history_days: int = Field(
        0,
        ge=0,
        le=MAX_HISTORY_DAYS,
        description=(
            "Also store missing closing prices of this many past days: from Binance, else from CoinGecko (a year "
            "back). 0, the schedule's value: current prices only."
        ),
    )


@dg.asset(
    group_name="sources",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "Prices in US dollars of the coins of `[price_data]`, every five minutes: from CoinGecko, else from Binance (a "
        "USDT counts as a dollar), else from CoinMarketCap, each within its request budget. Once an hour a second "
        "source is compared. A day's close has the time of the midnight (UTC) that ends the day. Data by CoinGecko, "
        "https://www.coingecko.com, Binance and CoinMarketCap."
    ),
    freshness_policy=dg.FreshnessPolicy.time_window(fail_window=timedelta(minutes=30)),
    check_specs=[
        dg.AssetCheckSpec("sources_agree", asset="coin_prices", description="Two sources have similar prices."),
        dg.AssetCheckSpec("every_coin_has_a_price", asset="coin_prices", description="Each configured coin is priced."),
    ],
)
def coin_prices(config: CoinPricesConfig, warehouse: Warehouse, prices: Prices) -> dg.MaterializeResult:
    from bizcharts_pipeline.prices.rotation import fill_daily, update_prices
    from bizcharts_pipeline.warehouse.prices import newest_prices

    stopwatch = Stopwatch()
    now = utc_now()
    database, rotation = warehouse.open_at(now), prices.rotation()
    with stopwatch("ask and store"):
        report = update_prices(database, rotation, prices.parameters().coins, now)
    history: dict[str, int | dict[str, int]] = {}
    if config.history_days:
        with stopwatch("fill daily history"):
            first = now.date() - timedelta(days=config.history_days)
            filled = fill_daily(database, rotation, prices.parameters().coins, first, now.date(), now)
        history = {"daily_closes_added": filled.new_rows, "days_without_close": dict(filled.days_missing)}
    with stopwatch("look back"), database.read() as connection:
        preview = newest_prices(connection)
    warning = dg.AssetCheckSeverity.WARN
    return dg.MaterializeResult(
        metadata={
            "source": ", ".join(report.taken.used),
            "compared_with": report.taken.compared_with or "",
            "new_rows": report.new_rows,
            "prices": table(preview),
            "differences": ", ".join(str(each) for each in report.disagreements),
            "requests_left_this_month": dict(report.budget_left),
            **({"problems": "\n".join(report.taken.problems)} if report.taken.problems else {}),
            **history,
            **stopwatch.metadata(),
        },
        check_results=[
            check(report.disagreements, asset="coin_prices", name="sources_agree", severity=warning),
            check(report.taken.missing, asset="coin_prices", name="every_coin_has_a_price", severity=warning),
        ],
    )


@dg.asset(
    group_name="sources",
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "alternative.me's Crypto Fear & Greed Index by UTC day, for comparison only: our index does not use it. "
        "Source: alternative.me, https://alternative.me/crypto/fear-and-greed-index/ ; its terms require this "
        "attribution with every display of the data, so each row has its source."
    ),
)
def reference_index(context: dg.AssetExecutionContext, warehouse: Warehouse, prices: Prices) -> dg.MaterializeResult:
    return with_retries(lambda: _reference_index(warehouse, prices), RETRY_SECONDS, context.log.info)


def _reference_index(warehouse: Warehouse, prices: Prices) -> dg.MaterializeResult:
    from bizcharts_pipeline.prices.rotation import update_reference_index
    from bizcharts_pipeline.warehouse.prices import newest_readings

    now = utc_now()
    database = warehouse.open_at(now)
    report = update_reference_index(database, prices.reference_session(), prices.alternative_me_url, now)
    with database.read() as connection:
        preview = newest_readings(connection)
    return dg.MaterializeResult(
        metadata={
            "new_days": report.new_days,
            "newest_day": str(report.newest_day),
            "newest_days": table(preview),
            "attribution": dg.MetadataValue.url("https://alternative.me/crypto/fear-and-greed-index/"),
            **({"problems": "\n".join(report.problems)} if report.problems else {}),
        }
    )
