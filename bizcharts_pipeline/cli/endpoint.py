"""Commands ``bizcharts endpoint …``: the serverless worker of the vision model."""

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.cli.output import as_json, print_table, require_home, show, to_json
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import QUEUE_SCHEME, Settings, load_settings

if TYPE_CHECKING:
    from bizcharts_pipeline.endpoints.ledger import EndpointRow

DAYS = 30  # over which `cost` adds up


class NoModel(BizchartsError):
    """There is no vision model to deploy."""


class NoSuchEndpoint(BizchartsError):
    """This installation has deployed no endpoint, or several."""


@click.group()
def endpoint() -> None:
    """Manage the serverless vision worker.

    It scores posts with the vision model. RunPod's key is read from RUNPOD_API_KEY. docs/vision-scoring.md explains
    worker and cost.
    """


@endpoint.command()
@click.option("--model", help="Version of the model in the image; by default the champion.")
def deploy(model: str | None) -> None:
    """Create the endpoint of a model, or update the one that exists.

    It starts no worker. Billing begins with the first posts, or with `bizcharts endpoint warm`. Each model has an
    endpoint of its own: that of another version stays, and is named.
    """
    from bizcharts_pipeline.endpoints import life
    from bizcharts_pipeline.endpoints.control import Control
    from bizcharts_pipeline.endpoints.ledger import LEDGER, EndpointLedger

    settings = _settings()
    version = _registered(settings, model) if model else _champion(settings)
    row = life.deploy(settings, version, Control(), utc_now())
    click.echo(
        f"deployed {row.model_version} as {row.endpoint_id}; a worker that runs costs ${row.usd_per_hour:f} an hour"
    )
    click.echo(f'put into settings.toml:\n\n[vision]\nendpoint = "{QUEUE_SCHEME}{row.endpoint_id}"')
    for other in EndpointLedger(settings.home_path / LEDGER).rows():
        if other.state == "deployed" and other.endpoint_id != row.endpoint_id:
            click.echo(
                f"{other.model_version} is still deployed as {other.endpoint_id}; if it is not needed any more: "
                f"`bizcharts endpoint delete --id {other.endpoint_id}`"
            )


@endpoint.command()
def warm() -> None:
    """Start the worker now, and wait until it is ready.

    It stops after `idle_seconds` of [endpoint] without posts. The start is booked as that of any job.
    """
    from bizcharts_pipeline.scoring.vision import jobs_of

    settings = _settings()
    with jobs_of(settings.home_path, settings.vision, _deployed(settings)) as jobs:
        job = jobs.warm()
    click.echo(f"ready; the start took {(job.delay_ms or 0) / 1000:.1f} seconds")


@endpoint.command("scale")
@click.argument("workers", type=click.IntRange(0, 1))
def scale_workers(workers: int) -> None:
    """Allow one worker (1) or none (0).

    `idle_seconds` of [endpoint] and the current price are applied, too. With no worker, waiting jobs are removed, and
    posts wait.
    """
    from bizcharts_pipeline.endpoints import life
    from bizcharts_pipeline.endpoints.control import Control

    settings = _settings()
    row = life.scale(settings, _deployed(settings).endpoint_id or "", workers, Control(), utc_now())
    click.echo(
        f"{row.endpoint_id}: {counted(workers, 'worker')} at most, stopped after {row.idle_seconds} idle seconds"
    )


@endpoint.command()
@click.option("--id", "endpoint_id", help="Id of the endpoint, if there are several.")
def delete(endpoint_id: str | None) -> None:
    """Delete the endpoint."""
    from bizcharts_pipeline.endpoints import life
    from bizcharts_pipeline.endpoints.control import Control

    settings = _settings()
    endpoint_id = endpoint_id or _deployed(settings).endpoint_id or ""
    life.delete(settings, endpoint_id, Control(), utc_now())
    click.echo(f"deleted {endpoint_id}")


@endpoint.command()
@as_json
def reap(json_output: bool) -> None:
    """Delete this installation's lost endpoints.

    These carry its id, and its ledger does not record them as deployed. The service does so every five minutes.
    """
    from bizcharts_pipeline.endpoints import life
    from bizcharts_pipeline.pods.reaper import ReapReport

    report = life.reap(_settings()) or ReapReport((), (), ())
    show(report, json_output, f"deleted: {', '.join(report.ended) or 'none'}")
    if report.failed:
        raise BizchartsError("; ".join(report.failed))


@endpoint.command()
@as_json
def cost(json_output: bool) -> None:
    """Print the cost per 1,000 posts, from the ledger."""
    from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger
    from bizcharts_pipeline.core.ledgers import is_known
    from bizcharts_pipeline.scoring.jobs import WorkerCost, worker_cost
    from bizcharts_pipeline.scoring.vision import LEDGER

    settings, now = _settings(), utc_now()
    midnight = now.replace(hour=0, minute=0, second=0, microsecond=0)
    since = {"today": midnight, f"{DAYS} days": midnight - timedelta(days=DAYS - 1)}
    if is_known(settings.home_path / LEDGER):
        with AutoLabelLedger(settings.home_path / LEDGER) as ledger:
            found = {name: worker_cost(ledger, moment) for name, moment in since.items()}
    else:
        found = dict.fromkeys(since, WorkerCost(Decimal(0), Decimal(0), 0))
    if json_output:
        rows = [
            {"period": name, "usd_per_thousand": each.usd_per_thousand, **vars(each)} for name, each in found.items()
        ]
        click.echo(to_json({"usd_per_day": settings.vision.usd_per_day, "periods": rows}))
        return
    print_table(
        ["period", "posts", "USD", "of it not confirmed", "USD per 1,000 posts"],
        [[name, f"{each.posts:,}", _usd(each.usd), _usd(each.assumed_usd), _usd(each.usd_per_thousand)]
         for name, each in found.items()],
    )  # fmt: skip
    click.echo(f"limit per day: {settings.vision.usd_per_day:f} USD")


def _usd(amount: Decimal | None) -> str:
    return "" if amount is None else f"{amount:.4f}"


def _settings() -> Settings:
    from bizcharts_pipeline.warehouse.installation import check_home

    settings = load_settings()
    check_home(settings.home_path)
    require_home(settings.home_path, "its endpoints are unknown")
    return settings


def _registered(settings: Settings, model_version: str) -> str:
    from bizcharts_pipeline.scoring.champion import VISION_KINDS
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.models import model

    with Database.configured(settings).read() as connection:
        row = model(connection, model_version)
    if row is None or row.kind not in VISION_KINDS:
        what = "not a vision model" if row else "not registered here"
        raise NoModel(f"{model_version} is {what}; `bizcharts models list` shows the versions.")
    return model_version


def _champion(settings: Settings) -> str:
    from bizcharts_pipeline.scoring.champion import VISION_KINDS
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.models import champion

    with Database.configured(settings).read() as connection:
        current = champion(connection)
    if current is None or current.kind not in VISION_KINDS:
        raise NoModel("The champion is not a vision model; promote one, or name one with --model.")
    return current.model_version


def _deployed(settings: Settings) -> "EndpointRow":
    """Return the endpoint that `endpoint` of [vision] names, or the only one that is deployed."""
    from bizcharts_pipeline.core.ledgers import is_known
    from bizcharts_pipeline.endpoints.ledger import LEDGER, EndpointLedger

    path = settings.home_path / LEDGER
    rows = [row for row in EndpointLedger(path).rows() if row.state == "deployed"] if is_known(path) else []
    named = [row for row in rows if f"{QUEUE_SCHEME}{row.endpoint_id}" == settings.vision.endpoint]
    if len(named or rows) != 1:
        ids = ", ".join(str(row.endpoint_id) for row in rows)
        several = f"Several endpoints are deployed ({ids}); name one as `endpoint` of [vision]."
        raise NoSuchEndpoint(several if rows else "No endpoint is deployed; run `bizcharts endpoint deploy`.")
    return (named or rows)[0]
