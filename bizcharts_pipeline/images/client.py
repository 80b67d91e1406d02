"""Pictures of opening posts from the two image hosts, and the list that tells a sunken thread from a deleted one."""

import json
import re
from typing import Any

from bizcharts_pipeline.core.rows import Source
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.session import PoliteSession, Response
from bizcharts_pipeline.settings import FOURCHAN_MINIMUM_SECONDS, WAROSU_MINIMUM_SECONDS, is_loopback

_PATH = re.compile(r"(?:/[A-Za-z0-9][A-Za-z0-9_.-]*)+")
_MAX_PATH_CHARACTERS = 200
_BIGINT_MAX = 2**63 - 1
_MAX_LIST_BYTES = 1024 * 1024  # a board's list of archived threads has 30 kB


class ArchiveListFormatError(SourceError):
    """An ``archive.json`` that can not be read as a list of thread numbers."""


class ImageClient:
    """Fetches single pictures by URL, from the two configured hosts and from nowhere else.

    Of a board: the live host's pictures and its list of archived threads through ``live``, the archive's pictures
    through ``archive``. One thread's own, as its sessions are.
    """

    def __init__(
        self,
        live: PoliteSession,
        archive: PoliteSession,
        *,
        board: str,
        api_url: str,
        image_url: str,
        archive_image_url: str,
    ) -> None:
        self._sessions: dict[Source, PoliteSession] = {"live": live, "warosu": archive}
        self.image_urls: dict[Source, str] = {"live": image_url, "warosu": archive_image_url}
        self.archive_list_url = f"{api_url}/{board}/archive.json"

    def source_of(self, url: str) -> Source | None:
        """Return which of the two hosts ``url`` belongs to; ``None`` for any other, or a path that is no file's."""
        for source, base in self.image_urls.items():
            path = url.removeprefix(base)
            if path != url and len(path) <= _MAX_PATH_CHARACTERS and _PATH.fullmatch(path):
                return source
        return None

    def picture(self, url: str, *, max_bytes: int) -> Response:
        """Return the answer of ``url`` with the picture's bytes, as yet unexamined.

        Raises:
            SourceNotFound: it is not there (404 or 410).
            ResponseTooLarge: it has more than ``max_bytes``.
            SourceError: its other subclasses, as :meth:`PoliteSession.get` raises them.
            ValueError: the URL is foreign; nothing was asked.
        """
        source = self.source_of(url)
        if source is None:
            raise ValueError("not a picture of the configured hosts")
        return self._sessions[source].get(url, max_bytes=max_bytes)

    def archived_threads(self) -> frozenset[int]:
        """Return the numbers of the threads that have left the board and can still be read on it.

        Raises:
            ArchiveListFormatError: the answer is no list of numbers.
            SourceError: its other subclasses, as :meth:`PoliteSession.get` raises them.
        """
        body = self._sessions["live"].get(self.archive_list_url, max_bytes=_MAX_LIST_BYTES).body
        try:
            numbers: Any = json.loads(body)
        except (ValueError, RecursionError):
            numbers = None
        if not isinstance(numbers, list) or not all(type(no) is int and 0 < no <= _BIGINT_MAX for no in numbers):
            raise ArchiveListFormatError(
                f"{self.archive_list_url}: no list of thread numbers ({len(body):,} bytes, beginning {body[:60]!r}); "
                "open it in a browser"
            )
        return frozenset(numbers)

    def close(self) -> None:
        """Close the connections."""
        for session in self._sessions.values():
            session.close()


def image_client(
    *,
    board: str,
    api_url: str,
    image_url: str,
    archive_image_url: str,
    seconds_per_request: float,
    archive_seconds_per_request: float,
    contact: str = "",
) -> ImageClient:
    """Return a client that asks no image host but loopback more often than its minimum allows, whatever is set."""
    live_seconds = _polite(seconds_per_request, FOURCHAN_MINIMUM_SECONDS, image_url, api_url)
    archive_seconds = _polite(archive_seconds_per_request, WAROSU_MINIMUM_SECONDS, archive_image_url)
    return ImageClient(
        PoliteSession(live_seconds, contact=contact),
        PoliteSession(archive_seconds, contact=contact),
        board=board,
        api_url=api_url,
        image_url=image_url,
        archive_image_url=archive_image_url,
    )


def _polite(seconds: float, minimum: float, *urls: str) -> float:
    return seconds if all(is_loopback(url) for url in urls) else max(seconds, minimum)
