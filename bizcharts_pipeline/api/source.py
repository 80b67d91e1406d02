"""Reads the database for the API: short reads, strong ETags."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from importlib.metadata import version
from typing import TYPE_CHECKING, TypeVar

import duckdb

from bizcharts_pipeline.core.clock import iso_utc, utc_now
from bizcharts_pipeline.settings import FearGreedSettings, Settings
from bizcharts_pipeline.warehouse.as_of import Revision, revision
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

READ_WAIT_SECONDS = 2.0
FRESH_SECONDS = 30  # the present state changes each minute
SETTLED_SECONDS = 3600
SETTLED_AFTER = timedelta(days=1)  # no run takes so long: rows of an earlier moment are all there

T = TypeVar("T")


@dataclass(frozen=True)
class Source:
    """What answers are made of: ``database`` returns the one that is read, or raises why there is none; ``clock`` gives
    naive UTC. With ``has_login``, no cache that several people share may keep an answer."""

    database: Callable[[], Database]
    parameters: FearGreedSettings
    clock: Callable[[], datetime] = utc_now
    has_login: bool = False

    @classmethod
    def of(cls, settings: Settings, *, has_login: bool = False) -> "Source":
        """Return the source of an installation. Its database may be missing: no answer creates one."""
        return cls(
            lambda: Database.existing(settings).waiting(READ_WAIT_SECONDS), settings.fear_greed, has_login=has_login
        )

    def answer(
        self,
        request: "Request",
        as_of: datetime | None,
        key: object,
        read: Callable[[duckdb.DuckDBPyConnection], T],
        render: Callable[[T, Revision], bytes],
        media_type: str,
        headers: dict[str, str] | None = None,
    ) -> "Response":
        """Return as the API's answer what ``render`` makes of what ``read`` has read as of a moment, or that it is
        unchanged.

        Args:
            key: what the answer depends on besides the rows; it has a ``repr`` of its own for each value.
            headers: further headers.

        Raises:
            DatabaseError: the database cannot be read; :class:`DatabaseBusy` if it was not free in time.
        """
        from starlette.responses import Response

        with self.database().read() as connection:
            found = revision(connection, as_of)
            tag = _etag(request.scope["path"], key, as_of, self.parameters, found)
            headers = {"ETag": tag, "Cache-Control": self._cache_control(as_of), **(headers or {})}
            if _has(request.headers.get("if-none-match", ""), tag):
                return Response(None, 304, headers)
            rows = read(connection)
        return Response(render(rows, found), 200, headers, media_type)

    def _cache_control(self, as_of: datetime | None) -> str:
        settled = as_of is not None and as_of < self.clock() - SETTLED_AFTER
        kept_by = "private" if self.has_login else "public"
        return f"{kept_by}, max-age={SETTLED_SECONDS if settled else FRESH_SECONDS}"


def as_json(value: object) -> bytes:
    """Return rows and times (naive UTC) as the API's JSON; times are ISO 8601 with a Z."""
    return json.dumps(value, default=_plain, allow_nan=False, ensure_ascii=True, separators=(",", ":")).encode()


def _plain(value: object) -> object:
    if isinstance(value, datetime):
        return iso_utc(value)
    return vars(value)  # a row


def _etag(*depends_on: object) -> str:
    text = "\n".join(map(repr, (version("bizcharts"), *depends_on)))
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def _has(if_none_match: str, tag: str) -> bool:
    sent = {each.strip().removeprefix("W/") for each in if_none_match.split(",")}
    return "*" in sent or tag in sent
