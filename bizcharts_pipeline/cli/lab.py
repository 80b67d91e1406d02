"""``bizcharts backtest``: whether the index says anything about the next days' prices."""

from datetime import datetime

import click

from bizcharts_pipeline.cli.output import as_json
from bizcharts_pipeline.cli.publishing import as_moment, in_the_past
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.settings import load_settings


@click.command()
@click.option("--as-of", callback=as_moment, metavar="TIME", help="What was computed and knowable then (ISO 8601).")
@as_json
def backtest(as_of: datetime | None, json_output: bool) -> None:
    """Test whether the mood leads the price.

    With everything that was knowable at the time only, adjusted for the number of tests, and beside alternative.me's
    index under the same rules. The report is stored in `lab/` of the home. Each run's trading rules count as trials.
    """
    from bizcharts_pipeline.lab.errors import require_packages
    from bizcharts_pipeline.lab.report import report_path, to_json
    from bizcharts_pipeline.lab.run import backtest as run_backtest
    from bizcharts_pipeline.warehouse.database import Database

    now = utc_now()
    in_the_past(as_of, now)
    require_packages()
    settings = load_settings()
    report = run_backtest(Database.existing(settings), settings.home_path, settings.price_data.coins, now, as_of)
    if json_output:
        click.echo(to_json(report).decode(), nl=False)
        return
    click.echo(str(report))
    click.echo(f"\nreport  {report_path(settings.home_path, as_of).with_suffix('.html')}")
