"""Disk cache of one day's pages, so that a run after a killed one need not request them again."""

import gzip
import hashlib
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.archive.client import Search
from bizcharts_pipeline.archive.errors import ArchiveFormatError
from bizcharts_pipeline.archive.markup import MAX_PAGE_BYTES
from bizcharts_pipeline.archive.page import ArchivedPost, ArchivePage, Counts
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.core.clock import midnight
from bizcharts_pipeline.core.files import open_regular, write_atomically
from bizcharts_pipeline.http.errors import SourceNotFound
from bizcharts_pipeline.http.exchange import BodyRefused, gunzipped

KEPT_SECONDS = 24 * 3600.0  # older pages may be inconsistent with new ones
SETTLES_AFTER = timedelta(days=4)  # from a day's beginning until no more posts of it arrive


@dataclass
class Found:
    """Opening posts, reply counts and problems of the pages read so far."""

    posts: dict[int, ArchivedPost] = field(default_factory=dict)
    counts: dict[int, Counts] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    rejected: int = 0  # posts that could not be read

    def add(self, page: ArchivePage) -> None:
        """Add the opening posts of a page of the archive."""
        self.rejected += page.rejected
        self.posts.update((post.number, post) for post in page.posts if post.is_op)
        self.counts |= page.counts()
        self.problems += page.problems


class DayPages:
    """Reads the pages of one day, from disk if an earlier run has fetched them.

    ``read`` counts the pages used so far, from either source. Pages of a day that has just ended are not kept: late
    posts shift the results, and pages of different moments would be inconsistent.
    """

    def __init__(self, archive: Archive, day: date, now: datetime) -> None:
        self._archive = archive
        self._name = f"{day:%Y-%m-%d}"
        self._folder = archive.folder / self._name
        self._keeps = now > midnight(day) + SETTLES_AFTER
        self.read = 0

    def search(self, search: Search, offset: int, *, again: bool = False) -> ArchivePage:
        """Return a page of the archive's search results; with ``again``, not the one on disk.

        Raises:
            SourceError: as raised by :meth:`Archive.page`.
        """
        client = self._archive.client
        url = client.search_url(search, offset)
        return self._page(f"{search.order}-{offset:04d}", url, lambda: client.search(search, offset), again)

    def index(self, number: int) -> ArchivePage:
        """Return an index page of the archive, counted from 1; empty beyond the last. Raises like :meth:`search`."""
        client = self._archive.client
        try:
            return self._page(f"index-{number:06d}", client.index_url(number), lambda: client.index(number))
        except SourceNotFound:
            return ArchivePage("")

    def discard(self) -> None:
        """Remove the archive's pages of the day, after they were stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _page(self, name: str, url: str, get: Callable[[], bytes], again: bool = False) -> ArchivePage:
        # The address is part of the name, so that pages of another archive or board are not used.
        path = self._folder / f"{name}-{hashlib.sha256(url.encode()).hexdigest()[:12]}.html.gz"
        self.read += 1
        if self._keeps and not again and (body := _kept(path)) is not None:
            try:
                return self._archive.read(body, f"{self._name}-{name}")
            except ArchiveFormatError:
                path.unlink(missing_ok=True)  # quarantined by now; the archive may have a better one
        body, page = self._archive.page(get, f"{self._name}-{name}")
        # A response without posts may be a temporary error, so it is not kept.
        if self._keeps and page.posts:
            write_atomically(path, gzip.compress(body, compresslevel=3, mtime=0))
        return page


def _kept(path: Path) -> bytes | None:
    try:
        if time.time() - path.stat().st_mtime < KEPT_SECONDS:
            with open_regular(path) as file:
                pieces = iter(lambda: file.read(64 * 1024), b"")
                return b"".join(gunzipped(pieces, MAX_PAGE_BYTES, None))
    except (OSError, BodyRefused):
        pass
    return None
