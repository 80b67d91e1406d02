"""The Warosu archive's client, and its opening posts as rows.

The search rules are Fuuka's: ``task=search2`` is the form that heeds every field (``task=search`` reads the text
alone), dates are strict bounds at the archive's midnight (``dateto`` leaves that day out), and of a search no match
beyond the five-thousandth can be had: cut the range of dates instead.
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
    """What to look for among opening posts.

    In ``text``, ``a|b`` is one of both, ``-a`` without it, ``"a b"`` the phrase. Dates are the archive's days, whose
    midnight may be that of another zone: ask for one day more on either side. ``date_to`` is itself left out.
    """

    text: str = ""
    subject: str = ""
    date_from: date | None = None
    date_to: date | None = None
    order: Literal["new", "old"] = "new"


class WarosuClient:
    """Fetches pages of one board as they come; :func:`warosu_markup.parse_page` reads them."""

    def __init__(self, session: PoliteSession, url: str, image_url: str, board: str) -> None:
        self._session = session
        self.url = url
        self.image_url = image_url
        self.board = board

    def search_url(self, search: Search, offset: int) -> str:
        """Return where the results from ``offset`` on are (0, 24, 48, ...). Every field of the form is sent."""
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
        """Return where the index page is; the newest threads are on page 1."""
        return f"{self.url}/{self.board}/?{urlencode({'task': 'page', 'page': page})}"

    def thread_url(self, thread_id: int) -> str:
        """Return where the thread's page is."""
        return f"{self.url}/{self.board}/thread/{thread_id}"

    def search(self, search: Search, offset: int) -> bytes:
        """Return a page of results.

        Raises:
            SourceUnreachable: the archive reports an error, or there was no answer.
            SourceError: its other subclasses, as :meth:`PoliteSession.get` raises them.
        """
        url = self.search_url(search, offset)
        try:
            return self._session.get(url).body
        except SourceNotFound as error:
            # Fuuka's own errors have this status; a page of no results has not.
            failure = SourceUnreachable(
                f"{url}: the archive reports an error (404), as it does while its search engine is down, beyond the "
                f"{MAX_MATCHES:,}th match, and where there is no board {self.board!r}; try again later"
            )
            failure.evidence = error.evidence
            raise failure from error

    def index(self, page: int) -> bytes:
        """Return an index page.

        Raises:
            SourceNotFound: there is no such page, or no such board.
            SourceError: its other subclasses, as :meth:`PoliteSession.get` raises them.
        """
        return self._session.get(self.index_url(page)).body

    def thread(self, thread_id: int) -> bytes:
        """Return a thread's page.

        Raises:
            SourceNotFound: the archive has no such thread.
            SourceError: its other subclasses, as :meth:`PoliteSession.get` raises them.
        """
        return self._session.get(self.thread_url(thread_id)).body


def as_source_thread(post: ArchivedPost, counts: Counts | None = None) -> SourceThread:
    """Return an opening post as a row; ``counts`` where a page tells them. Names and trips stay behind."""
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
    """Return a file's name as the board's API gives it."""
    stem, dot, _ = one_line(name or "").rpartition(".")
    return (stem if dot and stem else one_line(name or ""))[:NAME_MAX_CHARACTERS] or None
