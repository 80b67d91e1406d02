"""Error responses of the API: JSON with a plain sentence."""

import json
from typing import TYPE_CHECKING

from bizcharts_pipeline.core.errors import BizchartsError

if TYPE_CHECKING:
    from starlette.responses import Response

RETRY_SECONDS = 2


class BadParameter(BizchartsError):
    """A parameter cannot be used: ``name`` is the parameter, the message the reason."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(reason)
        self.name = name


class UnknownCoin(BizchartsError):
    """No bucket names the coin."""


def error_response(
    status: int, message: str, parameter: str | None = None, headers: dict[str, str] | None = None
) -> "Response":
    """Return an error of the API as JSON; no cache keeps it."""
    from starlette.responses import Response

    error = {"status": status, "message": message, "parameter": parameter}
    body = json.dumps({"error": error}, ensure_ascii=True)
    return Response(body, status, {"Cache-Control": "no-store", **(headers or {})}, "application/json")
