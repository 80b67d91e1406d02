"""``bizcharts app``: the pages that show the index, coins, models and data."""

import click

from bizcharts_pipeline.settings import load_settings

PORT = 8501


@click.command("app")
@click.option("--port", type=click.IntRange(0, 65_535), default=PORT, show_default=True, help="Port to listen at.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen at.")
def open_app(port: int, host: str) -> None:
    """Show index, coins, models and data in the browser.

    The app only reads. It listens on this machine only, unless --host names another address; docs/security.md explains
    how to put a login in front.
    """
    from bizcharts_pipeline.app.serve import serve_app

    serve_app(load_settings(), host, port, say=click.echo)
