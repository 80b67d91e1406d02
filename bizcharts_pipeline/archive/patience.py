"""Patient access to the archive: retries with increasing pauses while it refuses."""

import hashlib
import logging
from collections.abc import Callable
from datetime import date, datetime
from pathlib import Path

from bizcharts_pipeline.archive.client import Search, WarosuClient
from bizcharts_pipeline.archive.errors import ArchiveFormatError, BotCheck
from bizcharts_pipeline.archive.markup import parse_page
from bizcharts_pipeline.archive.page import ArchivePage
from bizcharts_pipeline.core.attempts import Attempts, SetAside
from bizcharts_pipeline.http.errors import (
    HostPaused,
    ResponseTruncated,
    SourceBlocked,
    SourceError,
    SourceUnreachable,
)
from bizcharts_pipeline.http.quarantine import quarantine
from bizcharts_pipeline.http.rate_limit import LONGEST_POSTPONEMENT_SECONDS
from bizcharts_pipeline.http.session import PoliteSession, Timeouts
from bizcharts_pipeline.settings import Settings

# In request intervals: at one request in two seconds 1, 2, 4, 8 and 16 minutes, and finally an hour.
PAUSES = (30, 60, 120, 240, 480)
REST = 1800
PATIENCE_SECONDS = LONGEST_POSTPONEMENT_SECONDS + 3600  # of an unattended run
SHORT_PATIENCE_SECONDS = 20.0  # of a person at the command line
PASSING = (SourceBlocked, SourceUnreachable, ResponseTruncated, ArchiveFormatError)
LONG_AGO = date(2000, 1, 1)
_log = logging.getLogger(__name__)


class ArchiveBlocked(SourceError):
    """The archive refused, or did not respond, repeatedly: no more requests are sent for now."""


class Archive:
    """The archive of one board, and the folder that caches its pages until they are stored.

    ``patience`` is the maximum wait in seconds if the archive demands a pause.
    """

    def __init__(
        self,
        *,
        home: Path,
        board: str,
        url: str,
        image_url: str,
        seconds_per_request: float,
        contact: str,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        timeouts = Timeouts(read=60, total=180, patience=patience)
        self._session = PoliteSession(seconds_per_request, contact=contact, timeouts=timeouts, attempts=1)
        self._interval = seconds_per_request
        self._patience = patience
        self._newest = datetime.min  # the latest post seen in the archive
        self.client = WarosuClient(self._session, url, image_url, board)
        self.folder = home / "spool" / "warosu"
        self.attempts = Attempts.of_home(home)

    @classmethod
    def from_settings(cls, settings: Settings, *, patience: float = PATIENCE_SECONDS) -> "Archive":
        """Return the archive configured in ``settings``."""
        return cls(
            home=settings.home_path,
            board=settings.board,
            url=settings.warosu_url,
            image_url=settings.warosu_image_url,
            seconds_per_request=settings.warosu_seconds_per_request,
            contact=settings.contact,
            patience=patience,
        )

    def page(self, get: Callable[[], bytes], name: str) -> tuple[bytes, ArchivePage]:
        """Return the archive's page fetched by ``get``, retried after increasing pauses that hold for every process.

        Bad responses are quarantined under ``name``.

        Raises:
            ArchiveBlocked: it refused every attempt, or demands a pause longer than ``patience``.
            ArchiveFormatError: twice in a row, the response was not a page of the archive.
            SourceError: any other failure, at once.
        """
        failure: SourceError | None = None
        for pause in (*PAUSES, REST):
            try:
                body = get()
                return body, self.read(body, name)
            except HostPaused as error:
                raise ArchiveBlocked(str(error)) from error
            except SourceError as error:
                if error.evidence:
                    self.reject(error.evidence, name, str(error))
                if not isinstance(error, PASSING) or (_is_format_error(error) and _is_format_error(failure)):
                    raise
                failure = error
            self._pause(pause)
            if pause * self._interval > self._patience:
                raise ArchiveBlocked(f"{failure} [no requests for {pause * self._interval:.0f} s]") from failure
            if pause != REST:
                _log.warning("%s; trying again in %.0f s", failure, pause * self._interval)
        raise ArchiveBlocked(
            f"{failure} [{len(PAUSES) + 1} times in a row, with increasing pauses; no requests for "
            f"{REST * self._interval:.0f} s. Complete days stay; run the failed days again later]"
        ) from failure

    def rest(self) -> None:
        """Block all requests to the archive for a long time (an hour, at one request in two seconds), after a
        persistent fault.
        """
        self._pause(REST)

    def _pause(self, intervals: int) -> None:
        self._session.postpone(self.client.url, intervals * self._interval)

    def read(self, body: bytes, name: str) -> ArchivePage:
        """Parse a page of the archive; one that cannot be parsed, or only in part, is quarantined under ``name``.

        Raises:
            ArchiveFormatError: it is not a page of the archive.
        """
        try:
            with self.attempts.attempt(f"archive page {name} ({_digest(body)})"):  # a different body is another item
                page = parse_page(body, image_url=self.client.image_url)
        except SetAside as error:
            kept = self.reject(body, name, str(error))
            raise ArchiveFormatError(f"{error}. The page is kept in {kept}") from error
        except ArchiveFormatError as error:
            kept = self.reject(body, name, str(error))
            raise type(error)(f"{error}. The page is kept in {kept}") from error
        if page.rejected:
            self.reject(body, name, "\n".join(page.problems))
        return page

    def finds_without_words(self) -> bool:
        """Whether a search of the archive with dates and without words finds anything at all."""
        search = Search(date_from=LONG_AGO)
        return bool(self.page(lambda: self.client.search(search, 0), "probe")[1].posts)

    def reaches(self, moment: datetime) -> bool:
        """Whether the archive has an opening post made after ``moment`` (naive UTC); sends as few requests as
        possible.
        """
        if self._newest <= moment:
            _, page = self.page(lambda: self.client.search(Search(order="new"), 0), "newest")
            # The second newest: a post with a wrong time may be first.
            times = sorted(post.posted_at for post in page.posts)
            self._newest = times[-2] if len(times) > 1 else datetime.min
        return self._newest > moment

    def reject(self, body: bytes, name: str, reason: str) -> Path | None:
        """Quarantine a page of the archive under ``name`` and its digest, so that each is kept; return its file,
        ``None`` if it could not be written.
        """
        try:
            return quarantine(self.folder / "rejected", f"{name}-{_digest(body)}.html", body, reason)
        except OSError as error:  # a full disk must not prevent the pause between requests
            _log.warning("the page could not be kept: %s", error)
            return None


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()[:16]


def _is_format_error(error: SourceError | None) -> bool:
    """Whether the error is an unreadable page of the archive itself, not a bot check in front of it."""
    return isinstance(error, ArchiveFormatError) and not isinstance(error, BotCheck)
