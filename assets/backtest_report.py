"""Whether the index says anything about the next days' prices."""

from pathlib import Path

import dagster as dg

from assets.reporting import table
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.lab.errors import LabMissing
from resources.prices import Prices
from resources.warehouse import Warehouse


@dg.asset(
    group_name="index",
    deps=["fear_greed_index", "coin_sentiment", "coin_prices", "reference_index"],
    owners=["team:bizcharts"],
    kinds={"python", "duckdb"},
    description=(
        "Whether the index, or a coin's mood, says anything about the next days' prices: from what was knowable at the "
        "time only, adjusted for the number of tests, beside alternative.me's index under the same rules. Written to "
        "`lab/` of the home as JSON and as a page. Needs `make install-lab`. docs/lab.md has the methods."
    ),
)
def backtest_report(warehouse: Warehouse, prices: Prices) -> dg.MaterializeResult:
    from bizcharts_pipeline.lab.report import as_preview, report_path
    from bizcharts_pipeline.lab.run import backtest

    home = Path(warehouse.home)
    try:
        now = utc_now()
        report = backtest(warehouse.open_at(now), home, prices.parameters().coins, now)
    except LabMissing as missing:
        raise dg.Failure(str(missing), allow_retries=False) from None
    return dg.MaterializeResult(
        metadata={
            "answer": "\n".join(report.first_lines),
            "page": dg.MetadataValue.path(str(report_path(home).with_suffix(".html"))),
            "tests": table(as_preview(report)),
            **report.figures,
        }
    )
