"""The pages of one day on disk: what a run has fetched, the run that follows it need not ask for again."""

import gzip
import shutil
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

from bizcharts_pipeline.archive.asking import Archive
from bizcharts_pipeline.files import write_atomically
from bizcharts_pipeline.sources.warosu import Search
from bizcharts_pipeline.sources.warosu_page import ArchivedPost, ArchivePage, Counts

KEPT_SECONDS = 24 * 3600.0  # older ones may no longer fit together with what comes now


@dataclass
class Found:
    """The opening posts that the pages turned so far have, what they tell of their replies, and what was wrong."""

    posts: dict[int, ArchivedPost] = field(default_factory=dict)
    counts: dict[int, Counts] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    def add(self, page: ArchivePage) -> None:
        """Add a page."""
        self.posts.update((post.number, post) for post in page.posts if post.is_op)
        self.counts |= page.counts()
        self.problems += page.problems


class DayPages:
    """Reads the pages of one day, from disk where an earlier run has left them.

    ``read`` counts the pages used so far, wherever they came from.
    """

    def __init__(self, archive: Archive, day: date) -> None:
        self._archive = archive
        self._name = f"{day:%Y-%m-%d}"
        self._folder = archive.folder / self._name
        self.read = 0

    def search(self, search: Search, offset: int) -> ArchivePage:
        """Return a page of search results.

        Raises:
            SourceError: as :meth:`Archive.page` raises it.
        """
        client = self._archive.client
        return self._page(f"{search.order}-{offset:04d}", lambda: client.search(search, offset))

    def index(self, number: int) -> ArchivePage:
        """Return an index page, counted from 1; errors as of :meth:`search`."""
        client = self._archive.client
        return self._page(f"index-{number:06d}", lambda: client.index(number))

    def discard(self) -> None:
        """Remove the day's pages: they are stored."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _page(self, name: str, get: Callable[[], bytes]) -> ArchivePage:
        path = self._folder / f"{name}.html.gz"
        body = _kept(path)
        if body is None:
            body, page = self._archive.page(get, f"{self._name}-{name}")
            write_atomically(path, gzip.compress(body, compresslevel=3, mtime=0))
        else:
            page = self._archive.read(body, f"{self._name}-{name}")
        self.read += 1
        return page


def _kept(path: Path) -> bytes | None:
    try:
        if time.time() - path.stat().st_mtime < KEPT_SECONDS:
            return gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error):
        pass
    return None
