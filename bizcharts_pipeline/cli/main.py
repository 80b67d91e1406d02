"""Command line ``bizcharts``. Tables by default, JSON with ``--json``, errors as one line."""

import logging
import os
import signal
import sys
from collections.abc import Callable
from typing import Any

import click

from bizcharts_pipeline.cli.alerts import alerts
from bizcharts_pipeline.cli.app import open_app
from bizcharts_pipeline.cli.backup import backup, repair, restore, snapshot
from bizcharts_pipeline.cli.database import block, coverage, maintain, stats
from bizcharts_pipeline.cli.demo import demo
from bizcharts_pipeline.cli.endpoint import endpoint
from bizcharts_pipeline.cli.importing import import_archive, import_sqlite, search
from bizcharts_pipeline.cli.index import coins, index
from bizcharts_pipeline.cli.installation import init, migrate, repair_clock
from bizcharts_pipeline.cli.lab import backtest
from bizcharts_pipeline.cli.labels import label, labels
from bizcharts_pipeline.cli.models import models
from bizcharts_pipeline.cli.moved import moved
from bizcharts_pipeline.cli.output import printable
from bizcharts_pipeline.cli.pods import pods
from bizcharts_pipeline.cli.publishing import api, export
from bizcharts_pipeline.cli.service import health, poll, run, serve
from bizcharts_pipeline.cli.start import STATUS
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.private import make_private
from bizcharts_pipeline.settings import DEBUG, REPOSITORY_ROOT, is_switched_on, load_environment


class Commands(click.Group):
    """Commands that take no empty argument: it stands for a shell's variable that is not set, and a path, a host or a
    day would become the default, or everything."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        for before, argument in zip(["", *args], args, strict=False):
            if not argument or (argument.startswith("--") and argument.endswith("=")):
                name = argument.rstrip("=") or (before if before.startswith("--") else "an argument")
                raise click.UsageError(f"{name} is empty; if it comes from a variable of the shell, set it", ctx)
        return super().parse_args(ctx, args)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="bizcharts")
def bizcharts() -> None:
    """The mood of 4chan's /biz/ board: a Fear/Greed index and coin sentiment, each with an error band.

    `make serve` runs the pipeline as a service; these commands are for everything else. Settings come from the
    environment, .env and settings.toml. A research tool, not financial advice. Source: 4chan /biz/, https://boards.4chan.org/biz/
    """
    load_environment()
    os.environ.setdefault("DAGSTER_HOME", str(REPOSITORY_ROOT / "dagster_home"))


for command in (
    *(alerts, api, backtest, backup, block, coins, coverage, demo, endpoint, export, health, import_archive),
    *(import_sqlite, index, init, label, labels, maintain, migrate, models, moved, open_app, pods, poll, repair),
    *(repair_clock, restore, run, search, serve, snapshot, stats),
):
    bizcharts.add_command(command)


def main(command: Callable[..., Any] = bizcharts) -> None:
    """Run the command line: exit status 0; with one line on stderr 1 for a failure, 2 for bad usage, and 128 and its
    number for a signal.
    """
    make_private()
    debug = is_switched_on(DEBUG)
    logging.basicConfig(level=logging.DEBUG if debug else logging.WARNING, format="bizcharts: %(message)s")
    try:
        command(standalone_mode=False)
    except click.exceptions.Abort as stopped:
        number, *_ = getattr(stopped.__cause__, "args", ()) or (signal.SIGINT,)
        fail("Stopped.", STATUS + number)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(error.exit_code)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "bizcharts"
        message = error.format_message()
        end = "" if message.endswith((".", "?")) else "."
        fail(f"{message}{end} See `{path} --help`.", error.exit_code)
    except click.ClickException as error:
        fail(error.format_message())
    except BizchartsError as error:
        fail(str(error))
    except PermissionError as error:
        fail(f"{error.filename or 'a file'}: permission denied; check its owner, and the user that runs this command.")
    except OSError as error:
        fail(f"{error.filename or 'a file could not be read or written'}: {error.strerror or error}")
    except Exception as error:
        logging.getLogger(__name__).debug("unexpected", exc_info=True)
        fail(f"unexpected {type(error).__name__}: {error} (BIZCHARTS_DEBUG=1 shows where)")


def fail(message: str, status: int = 1) -> None:
    """Print one line on stderr and exit with ``status``."""
    click.echo("bizcharts: " + printable(" ".join(message.split())), err=True)
    sys.exit(status)
