"""Commands ``bizcharts models …``: list, preview, promote, release and fetch models."""

import getpass
from dataclasses import asdict

import click

from bizcharts_pipeline.cli.output import as_json, moment, print_table, show, to_json
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.settings import load_settings


@click.group()
def models() -> None:
    """List, release, fetch, preview and promote trained models."""


@models.command("list")
@as_json
def list_models(json_output: bool) -> None:
    """Show the registered models, oldest first.

    Metrics are those of a model's last evaluation on gold; those of retired models may be on fewer posts.
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
@as_json
def preview(version: str, json_output: bool) -> None:
    """Show what the model VERSION would change as champion.

    It scores the posts of the last days beside the champion: by how much the index would move, and which posts change.
    Nothing is switched. A vision model scores the newest of them on the server of [vision], within its `usd_per_day`;
    after a switch they are not sent again. The result is kept.
    """
    from bizcharts_pipeline.core.progress import on_terminal
    from bizcharts_pipeline.models.preview import changed_most, in_words, keep_preview
    from bizcharts_pipeline.scoring.place import Place
    from bizcharts_pipeline.warehouse.database import Database

    settings = load_settings()
    database, place = Database.existing(settings), Place.of(settings)
    found = keep_preview(database, place, version, settings.fear_greed, utc_now(), on_terminal)
    if json_output:
        click.echo(to_json(found))
        return
    click.echo(in_words(found))
    if found.changed_most:
        most = changed_most(found)
        click.echo()
        print_table(most.columns, [[str(cell) for cell in row] for row in most.rows])


@models.command()
@click.argument("version")
@click.option("--who", default=getpass.getuser, help="Who decides.  [default: the user's name on this machine]")
@click.option("--reason", required=True, help="Reason; stored with the decision.")
@as_json
def promote(version: str, who: str, reason: str, json_output: bool) -> None:
    """Make the model VERSION the champion.

    Even if it did not win the comparison on gold, or would move the index by much. What that changes is previewed
    before it, as `preview` does.
    """
    from bizcharts_pipeline.core.progress import on_terminal
    from bizcharts_pipeline.models.preview import in_words
    from bizcharts_pipeline.models.promotion import override
    from bizcharts_pipeline.scoring.place import Place
    from bizcharts_pipeline.warehouse.database import Database
    from bizcharts_pipeline.warehouse.models import model

    settings = load_settings()
    database = Database.existing(settings)
    previewed = override(
        database,
        Place.of(settings),
        version,
        parameters=settings.fear_greed,
        who=who,
        reason=reason,
        now=utc_now(),
        track=on_terminal,
    )
    with database.read() as connection:
        promoted = model(connection, version)
    assert promoted
    said = (
        f"{version} is the champion: it scores new posts from now on, and makes the index once it has scored all "
        f"stored posts.\n{in_words(previewed)}"
        if previewed
        else f"{version} is the champion already; nothing was changed."
    )
    show(asdict(promoted) | {"preview": previewed}, json_output, said)


def _share(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
