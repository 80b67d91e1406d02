"""How the archive is asked: patiently, and less and less often while it refuses."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import cached_property
from pathlib import Path

from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.sources.aside import keep_aside
from bizcharts_pipeline.sources.errors import (
    HostPaused,
    ResponseTruncated,
    SourceBlocked,
    SourceError,
    SourceUnreachable,
)
from bizcharts_pipeline.sources.http import PoliteSession, Timeouts
from bizcharts_pipeline.sources.warosu import Search, WarosuClient
from bizcharts_pipeline.sources.warosu_errors import ArchiveFormatError
from bizcharts_pipeline.sources.warosu_markup import parse_page
from bizcharts_pipeline.sources.warosu_page import ArchivePage

# In intervals between two requests: with one in two seconds 1, 2, 4, 8 and 16 minutes, and at last an hour.
PAUSES = (30, 60, 120, 240, 480)
REST = 1800
PATIENCE_SECONDS = 2 * 3600.0
LONG_AGO = date(2000, 1, 1)
_log = logging.getLogger(__name__)


class ArchiveBlocked(SourceError):
    """The archive refused, or did not answer, again and again: nothing more is asked of it for now."""


@dataclass(frozen=True)
class Archive:
    """The archive of one board, and the folder where its pages wait until they are stored."""

    client: WarosuClient
    session: PoliteSession
    seconds_per_request: float
    folder: Path

    @classmethod
    def of(
        cls, *, home: Path, board: str, url: str, image_url: str, seconds_per_request: float, contact: str
    ) -> "Archive":
        """Return the archive as one installation asks it."""
        timeouts = Timeouts(read=60, total=180, patience=PATIENCE_SECONDS)
        session = PoliteSession(seconds_per_request, contact=contact, timeouts=timeouts, attempts=1)
        client = WarosuClient(session, url, image_url, board)
        return cls(client, session, seconds_per_request, home / "spool" / "warosu")

    @classmethod
    def from_settings(cls, settings: Settings) -> "Archive":
        """Return the archive that the settings name."""
        return cls.of(
            home=settings.home_path,
            board=settings.board,
            url=settings.warosu_url,
            image_url=settings.warosu_image_url,
            seconds_per_request=settings.warosu_seconds_per_request,
            contact=settings.contact,
        )

    def page(self, get: Callable[[], bytes], name: str) -> tuple[bytes, ArchivePage]:
        """Return the page that ``get`` brings, tried again after longer and longer pauses that hold for every process.

        What came instead is kept aside under ``name``.

        Raises:
            ArchiveBlocked: it refused to the end, or asked for a pause longer than a run waits.
            ArchiveFormatError: twice running it was no page of the archive.
            SourceError: any other failure, at once.
        """
        failure: SourceError | None = None
        for pause in (*PAUSES, None):
            try:
                body = get()
                return body, self.read(body, name)
            except HostPaused as error:
                raise ArchiveBlocked(str(error)) from error
            except ArchiveFormatError as error:
                if isinstance(failure, ArchiveFormatError):
                    raise
                failure = error
            except SourceError as error:
                if error.evidence:
                    keep_aside(self.folder / "rejected", f"{name}.html", error.evidence, str(error))
                if not isinstance(error, SourceBlocked | SourceUnreachable | ResponseTruncated):
                    raise
                failure = error
            self.session.postpone(self.client.url, (pause or REST) * self.seconds_per_request)
            if pause is not None:
                _log.warning("%s; asked again in %.0f s", failure, pause * self.seconds_per_request)
        raise ArchiveBlocked(
            f"{failure} [{len(PAUSES) + 1} times in a row, after longer and longer pauses; nothing is asked for an "
            "hour. What is complete stays; run the failed days again later]"
        ) from failure

    def read(self, body: bytes, name: str) -> ArchivePage:
        """Parse a page; one that can not be read, or not wholly, is kept aside under ``name``.

        Raises:
            ArchiveFormatError: it is no page of the archive.
        """
        aside = self.folder / "rejected"
        try:
            page = parse_page(body, image_url=self.client.image_url)
        except ArchiveFormatError as error:
            kept = keep_aside(aside, f"{name}.html", body, str(error))
            raise ArchiveFormatError(f"{error}. The page is kept in {kept}") from error
        if page.rejected:
            keep_aside(aside, f"{name}.html", body, "\n".join(page.problems))
        return page

    @cached_property
    def finds_without_words(self) -> bool:
        """Whether a search with dates and no words finds anything at all; asked once a process."""
        search = Search(date_from=LONG_AGO)
        return bool(self.page(lambda: self.client.search(search, 0), "probe")[1].posts)

    def has_posts_after(self, moment: datetime) -> bool:
        """Whether the archive holds an opening post made after ``moment`` (naive UTC)."""
        # A day earlier, as its midnight may be that of another zone.
        search = Search(date_from=moment.date() - timedelta(days=1), order="new")
        _, page = self.page(lambda: self.client.search(search, 0), f"{moment:%Y-%m-%d}-after")
        return any(post.posted_at > moment for post in page.posts)
