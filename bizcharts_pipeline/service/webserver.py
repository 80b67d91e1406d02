"""The Dagster web server behind :class:`~bizcharts_pipeline.service.guard.Guard`: one process, one listening port.

Run as ``python -m bizcharts_pipeline.service.webserver WORKSPACE``; see :func:`command`.

Dagster has no option for a middleware, a Unix socket or an inherited socket, and the code that builds its application
from a workspace is private. A proxy in front of an unmodified ``dagster-webserver`` would leave the latter's own port
open to web pages. So this runs Dagster's own command and replaces its last step, serving the finished application.
Dagster is told to listen on an address that no machine has: if another version skips that step, it cannot listen.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from bizcharts_pipeline.service.guard import LOOPBACK_NAMES, Guard
from bizcharts_pipeline.service.login import VARIABLE, VIEWER_VARIABLE, Login, password_of
from bizcharts_pipeline.service.plain_log import install_if_asked
from bizcharts_pipeline.settings import ServeSettings

if TYPE_CHECKING:
    from collections.abc import Sequence

NOWHERE = "192.0.2.1"  # RFC 5737: no machine has it
STEP = "host_dagster_ui_with_workspace_process_context"
SHUTDOWN_SECONDS = 2
WILDCARDS = ("0.0.0.0", "::")


def command(serve: ServeSettings, workspace: Path, level: str, *, viewers: bool = False) -> list[str]:
    """Return the command line of the web server, or of the one for ``viewers``, which changes nothing. The password is
    passed only in the environment.

    Raises:
        BadPassword: the web server would refuse it.
    """
    password_of(_password_variable(viewers))
    names = [word for name in serve.hosts for word in ("--name", name)]
    address = ["--host", serve.host, "--port", str(serve.viewer_port if viewers else serve.port), "--level", level]
    kind = ["--viewers"] if viewers else []
    return [sys.executable, "-m", __name__, *address, *kind, *names, str(workspace)]


def allowed_hosts(host: str, names: "Sequence[str]") -> frozenset[str]:
    """Return the allowed host names: the loopback ones, the listening address, and ``names``."""
    own = set() if host in WILDCARDS else {f"[{host.lower()}]" if ":" in host else host.lower()}
    return LOOPBACK_NAMES | own | set(names)


@click.command()
@click.option("--host", required=True)
@click.option("--port", type=int, required=True)
@click.option("--level", default="warning")
@click.option("--viewers", is_flag=True)
@click.option("--name", "names", multiple=True)
@click.argument("workspace")
def main(host: str, port: int, level: str, viewers: bool, names: tuple[str, ...], workspace: str) -> None:
    """Serve the Dagster UI of WORKSPACE until SIGTERM or SIGINT."""
    install_if_asked()
    from dagster_webserver import cli
    from dagster_webserver.app import create_app_from_workspace_process_context

    if not hasattr(cli, STEP):
        raise click.ClickException(
            "BizCharts cannot put its access checks before this version of dagster-webserver; install that of "
            "requirements.lock"
        )
    password = password_of(_password_variable(viewers))
    login = Login(password, port) if password else None

    def serve(context: object, *_: object, **__: object) -> None:
        import uvicorn

        app = create_app_from_workspace_process_context(context)  # type: ignore[arg-type]
        uvicorn.run(
            Guard(app, allowed_hosts(host, names), login),
            host=host,
            port=port,
            log_level=level,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )

    setattr(cli, STEP, serve)
    levels = ["--log-level", level, "--dagster-log-level", level]
    kind = ["--read-only"] if viewers else []
    cli.dagster_webserver.main(["-w", workspace, "-h", NOWHERE, "-p", str(port), *levels, *kind], standalone_mode=False)


def _password_variable(viewers: bool) -> str:
    return VIEWER_VARIABLE if viewers else VARIABLE


if __name__ == "__main__":
    main()
