"""Client of the two image hosts, and of the list that distinguishes archived from deleted threads."""

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
_MAX_LIST_BYTES = 1024 * 1024  # real lists of archived threads have 30 kB


class ArchiveListFormatError(SourceError):
    """An ``archive.json`` that cannot be parsed as a list of thread numbers."""


class ImageClient:
    """Fetches single pictures by URL, only from the two configured hosts.

    ``live`` is the session for the live host's pictures and its list of archived threads, ``archive`` that for the
    archive's pictures. Like its sessions, it is for one thread only.
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
        """Return the host of pictures to which ``url`` belongs; ``None`` for any other, or if the path is not a
        file's.
        """
        for source, base in self.image_urls.items():
            path = url.removeprefix(base)
            if path != url and len(path) <= _MAX_PATH_CHARACTERS and _PATH.fullmatch(path):
                return source
        return None

    def picture(self, url: str, *, max_bytes: int) -> Response:
        """Return the response of ``url`` with the picture's bytes, not yet validated.

        Raises:
            SourceNotFound: the picture does not exist (404 or 410).
            ResponseTooLarge: it has more than ``max_bytes``.
            SourceError: its other subclasses, as raised by :meth:`PoliteSession.get`.
            ValueError: the URL is of another host; nothing was sent.
        """
        source = self.source_of(url)
        if source is None:
            raise ValueError("not a picture of the configured hosts")
        return self._sessions[source].get(url, max_bytes=max_bytes)

    def archived_threads(self) -> frozenset[int]:
        """Return the numbers of the threads that have left the board but can still be read there, so that their
        pictures may stay.

        Raises:
            ArchiveListFormatError: the response is not a list of numbers.
            SourceError: its other subclasses, as raised by :meth:`PoliteSession.get`.
        """
        body = self._sessions["live"].get(self.archive_list_url, max_bytes=_MAX_LIST_BYTES).body
        try:
            numbers: Any = json.loads(body)
        except (ValueError, RecursionError):
            numbers = None
        if not isinstance(numbers, list) or not all(type(no) is int and 0 < no <= _BIGINT_MAX for no in numbers):
            raise ArchiveListFormatError(
                f"{self.archive_list_url}: not a list of thread numbers ({len(body):,} bytes, starting {body[:60]!r}); "
                "open it in a browser"
            )
        return frozenset(numbers)

    def close(self) -> None:
        """Close the connections to the hosts of pictures."""
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
    """Return a client for pictures that respects the minimum interval of each host except loopback, regardless of the
    settings.
    """
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
