"""Commands ``bizcharts models …``: list, promote, release and fetch models."""

import getpass

import click

from bizcharts_pipeline.cli.output import as_json, moment, print_table, show, to_json
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import load_settings


@click.group()
def models() -> None:
    """List, release, fetch and promote trained models."""


@models.command("list")
@as_json
def list_models(json_output: bool) -> None:
    """Show the registered models, oldest first.

    Metrics are on gold posts.
    """
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.models import models as registered

    with Database.existing(load_settings()).read() as connection:
        found = registered(connection)
    if json_output:
        click.echo(to_json(found))
        return
    if not found:
        click.echo("No model is registered yet; `bizcharts poll --once` registers the lexicon.")
        return
    print_table(
        ["model version", "status", "accuracy", "macro-F1", "trained (UTC)", "base", "USD"],
        [
            [
                *(each.model_version, each.status, _share(each.accuracy), _share(each.macro_f1)),
                *(moment(each.trained_at), each.base_model or "", "" if each.usd is None else f"{each.usd:.2f}"),
            ]
            for each in found
        ],
    )


@models.command()
@click.argument("version")
@as_json
def release(version: str, json_output: bool) -> None:
    """Publish the model VERSION as a GitHub release.

    It goes to `repository` of [ml.release], with the token in GITHUB_TOKEN. After an interruption, run it again to
    continue.
    """
    from bizcharts_pipeline.models.github import GitHub
    from bizcharts_pipeline.models.release import facts_of, release_model
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    where = settings.ml.release
    if not where.repository:
        raise BizchartsError("Releases are off: set `repository` of [ml.release] to owner/name.")
    facts = facts_of(Database.existing(settings), settings.home_path, version)
    show(release_model(GitHub(where.api_url), where.repository, facts, settings.home_path), json_output)


@models.command()
@click.argument("repository", metavar="OWNER/REPO")
@click.argument("tag")
@as_json
def fetch(repository: str, tag: str, json_output: bool) -> None:
    """Download the model TAG from a release of OWNER/REPO.

    Every file is verified. The model becomes a candidate: the next evaluation compares it on your gold posts.
    """
    from bizcharts_pipeline.models.github import GitHub
    from bizcharts_pipeline.models.release import fetch_release, register_fetched
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    database = Database.from_settings(settings)
    fetched = fetch_release(GitHub(settings.ml.release.api_url), repository, tag, settings.home_path)
    register_fetched(database, fetched, utc_now())
    show(fetched, json_output)


@models.command()
@click.argument("version")
@click.option("--who", default=getpass.getuser, help="Who decides.  [default: the user's name on this machine]")
@click.option("--reason", required=True, help="Reason; stored with the decision.")
@as_json
def promote(version: str, who: str, reason: str, json_output: bool) -> None:
    """Make the model VERSION the champion.

    Even if it did not win the comparison on gold.
    """
    from bizcharts_pipeline.models.promotion import override
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    database = Database.existing(settings)
    promoted = override(database, settings.home_path, version, who=who, reason=reason, now=utc_now())
    show(promoted, json_output, f"{promoted.model_version} is the champion: its scores count from now on.")


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
