"""Client of the Warosu archive, and conversion of its opening posts to rows.

The search is Fuuka's: only ``task=search2`` uses every field (``task=search`` searches the text only), dates are strict
bounds at the archive's midnight (``dateto`` itself is excluded), and only the first five thousand matches are
available: narrow the range of dates instead.
"""

from dataclasses import dataclass
from datetime import date
from typing import Any, Literal
from urllib.parse import urlencode

from bizcharts_pipeline.archive.page import ArchivedFile, ArchivedPost, Counts
from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.http.errors import SourceNotFound, SourceUnreachable
from bizcharts_pipeline.http.fields import (
    HTML_MAX_CHARACTERS,
    NAME_MAX_CHARACTERS,
    SUBJECT_MAX_CHARACTERS,
    clean,
    one_line,
)
from bizcharts_pipeline.http.session import PoliteSession

RESULTS_A_PAGE = 24
MAX_MATCHES = 5_000


@dataclass(frozen=True)
class Search:
    """A search for opening posts.

    In ``text``, ``a|b`` means either, ``-a`` excludes, ``"a b"`` is a phrase. Dates are the archive's days, possibly in
    another time zone: include one more day on either side. ``date_to`` is excluded.
    """

    text: str = ""
    subject: str = ""
    date_from: date | None = None
    date_to: date | None = None
    order: Literal["new", "old"] = "new"


class WarosuClient:
    """Fetches raw pages of one board; :func:`bizcharts_pipeline.archive.markup.parse_page` parses them."""

    def __init__(self, session: PoliteSession, url: str, image_url: str, board: str) -> None:
        self._session = session
        self.url = url
        self.image_url = image_url
        self.board = board

    def search_url(self, search: Search, offset: int) -> str:
        """Return the URL of the archive's search results from ``offset`` on (0, 24, 48, ...). Every field of the form
        is sent.
        """
        fields = {
            "task": "search2",
            "ghost": "",
            "search_text": search.text,
            "search_subject": search.subject,
            "search_username": "",
            "search_tripcode": "",
            "search_email": "",
            "search_filename": "",
            "search_media_hash": "",
            "search_datefrom": search.date_from.isoformat() if search.date_from else "",
            "search_dateto": search.date_to.isoformat() if search.date_to else "",
            "search_op": "op",
            "search_del": "dontcare",
            "search_int": "dontcare",
            "search_ord": search.order,
            "search_capcode": "all",
            "search_res": "post",
            "offset": offset,
        }
        return f"{self.url}/{self.board}/?{urlencode(fields)}"

    def index_url(self, page: int) -> str:
        """Return the URL of an index page of the archive; the newest threads are on page 1."""
        return f"{self.url}/{self.board}/?{urlencode({'task': 'page', 'page': page})}"

    def thread_url(self, thread_id: int) -> str:
        """Return the URL of the thread's page in the archive."""
        return f"{self.url}/{self.board}/thread/{thread_id}"

    def search(self, search: Search, offset: int) -> bytes:
        """Fetch a page of the archive's search results.

        Raises:
            SourceUnreachable: the archive reports an error, or there was no response.
            SourceError: its other subclasses, as raised by :meth:`PoliteSession.get`.
        """
        url = self.search_url(search, offset)
        try:
            return self._session.get(url).body
        except SourceNotFound as error:
            # Fuuka's own errors have this status; a page without results does not.
            failure = SourceUnreachable(
                f"{url}: the archive reports an error (404): its search engine is down, the offset is beyond the "
                f"{MAX_MATCHES:,}th match, or there is no board {self.board!r}; try again later"
            )
            failure.evidence = error.evidence
            raise failure from error

    def index(self, page: int) -> bytes:
        """Fetch an index page of the archive.

        Raises:
            SourceNotFound: there is no such page, or no such board.
            SourceError: its other subclasses, as raised by :meth:`PoliteSession.get`.
        """
        return self._session.get(self.index_url(page)).body

    def thread(self, thread_id: int) -> bytes:
        """Fetch a thread's page from the archive.

        Raises:
            SourceNotFound: the archive has no such thread.
            SourceError: its other subclasses, as raised by :meth:`PoliteSession.get`.
        """
        return self._session.get(self.thread_url(thread_id)).body


def as_source_thread(post: ArchivedPost, counts: Counts | None = None) -> SourceThread:
    """Return an archived opening post as a row, with ``counts`` if known. Names and tripcodes are dropped."""
    file = post.file or ArchivedFile(None, None, None, None)
    extra: dict[str, Any] = {}
    if post.deleted:
        extra["deleted"] = True
    if post.corrected_by_seconds:
        extra["time_corrected_by_seconds"] = post.corrected_by_seconds
    return SourceThread(
        thread_id=post.number,
        posted_at=post.posted_at,
        source="warosu",
        subject=one_line(post.subject or "")[:SUBJECT_MAX_CHARACTERS] or None,
        op_html=clean(post.html)[:HTML_MAX_CHARACTERS].strip() or None,
        reply_count=counts.replies if counts else None,
        image_count=counts.images if counts else None,
        image_url=file.image_url,
        thumbnail_url=file.thumbnail_url,
        image_md5=file.md5,
        image_filename=_without_extension(file.name),
        image_width=file.width,
        image_height=file.height,
        image_bytes=file.bytes,
        file_deleted=file.removed,
        spoiler=post.spoiler,
        sticky=post.sticky,
        capcode=post.capcode,
        extra=extra,
    )


def _without_extension(name: str | None) -> str | None:
    """Return a file name without extension, as in the board's API."""
    stem, dot, _ = one_line(name or "").rpartition(".")
    return (stem if dot and stem else one_line(name or ""))[:NAME_MAX_CHARACTERS] or None
