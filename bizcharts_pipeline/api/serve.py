"""``bizcharts api``: the API's server, until Ctrl-C."""

from collections.abc import Callable
from contextlib import closing, suppress

from bizcharts_pipeline.api.app import api_app
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.core.listening import listening_socket
from bizcharts_pipeline.service.webserver import allowed_hosts
from bizcharts_pipeline.settings import Settings, is_loopback

SHUTDOWN_SECONDS = 2


def serve_api(
    settings: Settings, host: str | None = None, port: int | None = None, *, say: Callable[[str], object] = print
) -> None:
    """Serve the API until it is interrupted; host and port are the settings' unless given, port 0 any that is free.

    ``say`` gets the lines for the terminal, the address first.

    Raises:
        DatabaseUnavailable: there is no database.
        PortTaken: somebody listens there, or the address is not this machine's.
    """
    import uvicorn

    source = Source.of(settings)
    host = settings.api.host if host is None else host
    with closing(listening_socket(host, settings.api.port if port is None else port)) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        hosts = allowed_hosts(host, settings.serve.hosts)
        config = uvicorn.Config(
            api_app(source, hosts, settings.api.requests_per_minute),
            log_level="warning",
            access_log=False,
            proxy_headers=False,
            server_header=False,
            lifespan="off",
            timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        )
        say(f"{address}/v1/index\n\nThe API answers; {address}/v1/openapi.json describes it. Ctrl-C ends it.")
        if not is_loopback(address):
            say(f"Whoever reaches {host} can read it; it asks for no login (docs/security.md).")
        with suppress(KeyboardInterrupt):
            uvicorn.Server(config).run(sockets=[listener])
