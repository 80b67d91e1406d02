"""Commands ``bizcharts serve``, ``run``, ``health`` and ``poll``: run the Dagster service and its jobs, and check
them; or poll without Dagster.
"""

import sys
import time

import click

from bizcharts_pipeline.cli.output import as_json, print_table, show, to_json
from bizcharts_pipeline.core.clock import ClockDisagrees, utc_now
from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.settings import load_settings

POLL_SECONDS = 60
LONGEST_PAUSE_MINUTES = 15  # while the clock is wrong


@click.command()
@click.option("--dev", is_flag=True, help="Log more. 'Reload' in the UI loads changed code.")
def serve(dev: bool) -> None:
    """Run the unattended service.

    It runs schedules, code server and web server as supervised processes, until SIGTERM or Ctrl-C. Host and port are
    settings, under [serve]; docs/security.md explains the access to the web server.
    """
    from bizcharts_pipeline.service.serve import LEVEL
    from bizcharts_pipeline.service.serve import serve as run_service

    settings = load_settings()
    run_service(settings, _log, "info" if dev else LEVEL)


@click.command()
@click.argument("job")
def run(job: str) -> None:
    """Run the Dagster job JOB to its end.

    It uses the Dagster instance of the service, so the UI shows it. An unknown name lists the jobs. Exit status 0 means
    success. Ctrl-C or SIGTERM stops the run; a rented pod is terminated first, which takes seconds to minutes.
    """
    from bizcharts_pipeline.service.jobs import UnknownJob, environment, run_job

    settings = load_settings()
    try:
        succeeded = run_job(job, environment(), lambda line: click.echo(line, err=True), settings.postgres)
    except UnknownJob as error:
        raise click.UsageError(str(error)) from None
    if not succeeded:
        raise BizchartsError(f"The run of {job} failed; see its log in the Dagster UI.")
    click.echo(f"The run of {job} succeeded.")


@click.command()
@as_json
def health(json_output: bool) -> None:
    """Check the service.

    Exit status 1 if something is wrong. It checks the web server, the daemon, the database, the age of the last
    poll, items set aside, the ledgers, alerts that did not arrive, a drift alarm, and the free disk space.
    """
    from bizcharts_pipeline.service.health import health as look

    found = look(load_settings(), utc_now())
    if json_output:
        click.echo(to_json(found))
    else:
        print_table(["", "", ""], [[each.what, "ok" if each.ok else "NOT OK", each.detail] for each in found])
    if not all(each.ok for each in found):
        sys.exit(1)


@click.command()
@click.option("--once", is_flag=True, help="One poll, then stop.")
@as_json
def poll(once: bool, json_output: bool) -> None:
    """Poll, score and index every minute, without Dagster."""
    from bizcharts_pipeline.live import LivePipeline, run_tick

    pipeline = LivePipeline.from_settings(load_settings())
    full_hour: int | None = None  # of the last tick that recomputed everything, as the job `history` does
    refusals = 0  # consecutive ones because of the clock
    while True:
        started, now = time.monotonic(), utc_now()
        try:
            report = run_tick(pipeline, now, everything=not once and now.hour != full_hour)
            full_hour = now.hour
        except Exception as error:
            if once:
                raise
            refusals = refusals + 1 if isinstance(error, ClockDisagrees) else 0
            click.echo(f"{now:%Y-%m-%d %H:%M:%S}  {reason_of(error)}", err=True)
        else:
            refusals = 0
            show(report, json_output)
        if once:
            return
        minutes = min(2 ** max(0, refusals - 1), LONGEST_PAUSE_MINUTES)
        time.sleep(max(0.0, POLL_SECONDS * minutes - (time.monotonic() - started)))


def _log(line: str) -> None:
    click.echo(f"{utc_now():%Y-%m-%d %H:%M:%S} {line}", err=True)
