"""The page that a browser is given first: Streamlit's own, with the server's address in it.

Streamlit looks for its server below the address of the page that is open, so that a link to ``/coins`` begins with
two requests that are answered 404, and with errors in the browser's console. The address spares it the search. What
Streamlit says there of itself to programs, which are not served here, is left out.
"""

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

_ADDRESS = (
    '<script>const home = location.origin + "/"; '
    "window.__streamlit = { BACKEND_BASE_URL: home, MAIN_PAGE_BASE_URL: home }</script>"
)
# Streamlit leaves the links of its closed menu in the order of Tab, its marks of the focus are pale, and on narrow
# screens its figures have unequal widths.
_STYLE = (
    '<style>[data-testid="stSidebar"][data-collapsed="true"] [data-testid="stSidebarContent"] { visibility: hidden } '
    ":focus-visible { outline: 2px solid #1f6fb5 !important; outline-offset: 1px } "
    "@media (max-width: 480px) { "
    '[data-testid="stElementContainer"]:has(> [data-testid="stMetric"]) { flex-basis: 100% !important } }</style>'
)
_NOSCRIPT = "<noscript><p>BizCharts needs JavaScript. Programs use the API: see docs/api.md.</p></noscript>"


def start_page(streamlits: str) -> str:
    """Return the app's page that a browser is given first, made of Streamlit's own (its ``index.html``)."""
    page = re.sub(r"<noscript>.*?</noscript>", _NOSCRIPT, streamlits, flags=re.DOTALL)
    page = re.sub(r"<!--.*?-->|<link rel=\"service-desc\"[^>]*>", "", page, flags=re.DOTALL)
    page = page.replace("<title>Streamlit</title>", "<title>BizCharts</title>")
    return page.replace("<head>", f"<head>{_ADDRESS}{_STYLE}", 1)


def start_routes(page: str, names: Iterable[str]) -> "list[Route]":
    """Return the routes that give the start ``page`` at the address of each of the app's pages named."""
    from starlette.responses import HTMLResponse
    from starlette.routing import Route

    async def answer(request: "Request") -> "Response":
        return HTMLResponse(page, headers={"Cache-Control": "no-cache"})

    return [Route(f"/{name}", answer) for name in ("", *names)]
