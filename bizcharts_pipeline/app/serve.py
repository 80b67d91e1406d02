"""``bizcharts app``: the app's server, one process with the API below ``/v1``, until Ctrl-C.

Streamlit's application (``st.App``) runs under uvicorn behind the guard of the Dagster UI: hosts, origins and the
optional password are the same there and here. The API has a guard of its own, which allows less, and the same login.
"""

from collections.abc import Callable
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bizcharts_pipeline.api.app import api_app
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.app.policy import Policy, content_security_policy
from bizcharts_pipeline.app.start_page import start_page, start_routes
from bizcharts_pipeline.app.theme import STREAMLIT_THEME
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.listening import http_address, listening_socket, run_server
from bizcharts_pipeline.service.guard import Guard
from bizcharts_pipeline.service.login import VARIABLE, Login, password_of
from bizcharts_pipeline.service.webserver import allowed_hosts
from bizcharts_pipeline.settings import Settings, is_loopback
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Receive, Scope, Send

# In the folder of the pages, not beside it: Streamlit would take a folder `pages` beside its script for the pages
# themselves, and show nothing at a link that is opened before any other.
MAIN = Path(__file__).parent / "pages" / "main.py"
PAGE_NAMES = (
    "moved",
    "coins",
    "coin",
    "generals",
    "copies",
    "lab",
    "models",
    "data",
)  # beside the first one; pages/main.py has them
PACKAGES = ("streamlit", "uplot")
MAX_MESSAGE_MEGABYTES = 20  # that a page is sent at once

# Streamlit's options. Set here and not in a file: `.streamlit/config.toml` of the folder in which the app is started
# would be another one, and variables of the environment were not enough for `gatherUsageStats`.
OPTIONS: dict[str, Any] = {
    "browser.gatherUsageStats": False,
    "client.showErrorDetails": "none",
    "client.showErrorLinks": False,
    "client.toolbarMode": "minimal",
    "client.allowedOrigins": [],
    "global.developmentMode": False,
    "logger.level": "error",
    "runner.magicEnabled": False,
    "server.enableAgentApi": False,
    "server.enableStaticServing": False,
    "server.fileWatcherType": "none",
    "server.headless": True,
    "server.maxMessageSize": MAX_MESSAGE_MEGABYTES,
    "server.maxUploadSize": 1,
    "server.runOnSave": False,
    "server.showEmailPrompt": False,
    **STREAMLIT_THEME,
}


class AppMissing(BizchartsError):
    """The packages of the app are not installed."""


def serve_app(settings: Settings, host: str, port: int, *, say: Callable[[str], object] = print) -> None:
    """Serve the app until it is interrupted; ``port`` 0 is any that is free. ``say`` gets the lines for the terminal.

    Raises:
        AppMissing: its packages are not installed.
        BadPassword: the password of the environment cannot be used.
        PortTaken: another program uses the port, or the address does not belong to this machine.
        DatabaseError: the database is no file, or a file of another program.
    """
    require_packages()
    password = password_of()
    database = Database.configured(settings)
    database.check()
    with closing(listening_socket(host, port)) as listener:
        port = listener.getsockname()[1]
        login = Login(password, port) if password else None
        address = http_address(host, port)
        app = application(settings, allowed_hosts(host, settings.serve.hosts), login)
        if not database.exists():
            say(f"{database.name}: there is no database yet. The page says which command makes one.")
        say(f"{address}\n\nOpen this address in a browser; programs ask {address}/v1/index. Ctrl-C ends it.")
        if login is None and not is_loopback(address):
            say(f"Whoever reaches {host} can read the app and the API: set {VARIABLE} (docs/security.md)")
        run_server(app, listener, lifespan="auto")


def require_packages() -> None:
    """Check that the app's packages are installed.

    Raises:
        AppMissing: names what is missing and how to get it.
    """
    if missing := [name for name in PACKAGES if find_spec(name) is None]:
        raise AppMissing(f"The app needs {' and '.join(missing)}, not installed here: run `make install-app`.")


def application(settings: Settings, hosts: frozenset[str], login: Login | None) -> "ASGIApp":
    """Return the guarded ASGI application of the app's pages and the API for requests that name one of ``hosts``."""
    import streamlit
    from streamlit.starlette import App
    from streamlit.web import bootstrap

    names = [name.strip("[]") for name in sorted(hosts)]
    bootstrap.load_config_options({**OPTIONS, "server.allowedHosts": names})
    streamlits = Path(streamlit.__file__).parent / "static" / "index.html"
    page = start_page(streamlits.read_text(encoding="utf-8"))
    app = App(MAIN, routes=start_routes(page, PAGE_NAMES))
    return WithApi(
        Guard(Policy(app, content_security_policy(page)), hosts, login),
        api_app(Source.of(settings, has_login=login is not None), hosts, settings.api.requests_per_minute, login),
    )


class WithApi:
    """ASGI application: HTTP requests to ``/v1`` are answered by ``api``, everything else by ``app``.

    The two have guards and policies of their own, so that the API's embedded page may be shown by other sites and the
    app's pages may not.
    """

    def __init__(self, app: "ASGIApp", api: "ASGIApp") -> None:
        self._app, self._api = app, api

    async def __call__(self, scope: "Scope", receive: "Receive", send: "Send") -> None:
        """Answer one connection."""
        of_api = scope["type"] == "http" and f"{scope['path']}/".startswith("/v1/")
        await (self._api if of_api else self._app)(scope, receive, send)
