"""``bizcharts api``: the API's server, until Ctrl-C."""

from collections.abc import Callable
from contextlib import closing

from bizcharts_pipeline.api.app import api_app
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.core.listening import http_address, listening_socket, run_server
from bizcharts_pipeline.service.webserver import allowed_hosts
from bizcharts_pipeline.settings import Settings, is_loopback


def serve_api(
    settings: Settings, host: str | None = None, port: int | None = None, *, say: Callable[[str], object] = print
) -> None:
    """Serve the API until it is interrupted; host and port are the settings' unless given, port 0 any that is free.

    ``say`` gets the lines for the terminal, the address first.

    Raises:
        DatabaseUnavailable: there is no database.
        PortTaken: another program uses the port, or the address does not belong to this machine.
    """
    source = Source.of(settings)
    source.database()
    host = settings.api.host if host is None else host
    with closing(listening_socket(host, settings.api.port if port is None else port)) as listener:
        address = http_address(host, listener.getsockname()[1])
        say(f"{address}/v1/index\n\nThe API answers; {address}/v1/openapi.json describes it. Ctrl-C ends it.")
        if not is_loopback(address):
            say(f"Whoever reaches {host} can read it; it asks for no login (docs/security.md).")
        hosts = allowed_hosts(host, settings.serve.hosts)
        run_server(api_app(source, hosts, settings.api.requests_per_minute), listener)
