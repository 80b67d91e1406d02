"""Import of search results and of the newest index pages, instead of entire days."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial

from bizcharts_pipeline.archive.client import MAX_MATCHES, RESULTS_A_PAGE, Search, as_source_thread
from bizcharts_pipeline.archive.page import ArchivedPost, ArchivePage
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.archive.times import correct_times
from bizcharts_pipeline.core.attempts import Attempt, SetAside
from bizcharts_pipeline.core.clock import SLACK
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.progress import Track
from bizcharts_pipeline.http.fields import bounded
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.archive_days import archived_times
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.threads import merge_threads


@dataclass(frozen=True)
class ExcerptReport:
    """Result of such an import."""

    pages: int
    posts: int
    new: int
    oldest: datetime | None
    newest: datetime | None
    problems: tuple[str, ...]

    def __str__(self) -> str:
        if not self.posts:
            return f"No opening posts on {self.pages} page(s)."
        span = f"{self.oldest:%Y-%m-%d %H:%M} to {self.newest:%Y-%m-%d %H:%M} UTC"
        unread = f"; {counted(len(self.problems), 'note')}, the first: {self.problems[0]}" if self.problems else ""
        return (
            f"{counted(self.posts, 'opening post')} ({self.new:,} new) of {span}, from "
            f"{counted(self.pages, 'page')}{unread}."
        )


class NothingToSearch(BizchartsError):
    """The search has no words."""


def import_search(
    archive: Archive, database: Database, words: str, most: int, now: datetime, track: Track
) -> ExcerptReport:
    """Import from the archive up to ``most`` opening posts whose subject or text contains ``words``, newest first.

    Raises:
        NothingToSearch: ``words`` is empty.
        SourceError: the archive's response is missing or invalid; posts imported until then are kept.
    """
    if not words.strip():
        raise NothingToSearch("Nothing to search for; give a word")
    pages = track(_found(archive, words, now), f"Searching the archive for {words!r}")
    return _store(archive, database, pages, most, now)


def import_newest(archive: Archive, database: Database, pages: int, now: datetime, track: Track) -> ExcerptReport:
    """Import the opening posts of the archive's newest ``pages`` index pages, with their current reply counts.

    Raises:
        SourceError: as :func:`import_search`.
    """
    numbers = track(range(1, pages + 1), f"The newest {pages:,} index pages", pages)
    return _store(archive, database, _turned(archive, numbers, now), None, now)


def _turned(archive: Archive, numbers: Iterable[int], now: datetime) -> Iterator[ArchivePage]:
    for number in numbers:
        name = f"index-{number:06d}"
        body, page = archive.page(partial(archive.client.index, number), name)
        if not page.posts:
            return
        yield _without_future(archive, body, page, name, now)


def _found(archive: Archive, words: str, now: datetime) -> Iterator[ArchivePage]:
    for search in (Search(text=words), Search(subject=words)):
        seen: set[int] = set()
        for offset in range(0, MAX_MATCHES, RESULTS_A_PAGE):
            name = f"search-{offset:04d}"
            body, page = archive.page(partial(archive.client.search, search, offset), name)
            numbers = {post.number for post in page.posts}
            if numbers <= seen:
                break
            seen |= numbers
            yield _without_future(archive, body, page, name, now)


def _without_future(archive: Archive, body: bytes, page: ArchivePage, name: str, now: datetime) -> ArchivePage:
    """Return ``page`` with corrected times and without opening posts dated after ``now``; its ``body`` is then kept as
    evidence. A stored post keeps its time, and nothing would be deleted by age until then.
    """
    corrected = {post.number: post for post in correct_times(post for post in page.posts if post.is_op)}
    posts = [corrected[post.number] if post.is_op else post for post in page.posts]
    future = [post for post in posts if post.is_op and post.posted_at > now + SLACK]
    if not future:
        return replace(page, posts=tuple(posts))
    problems = [f"No. {post.number}: dated {post.posted_at:%Y-%m-%d %H:%M}, in the future" for post in future]
    archive.reject(body, name, "\n".join(problems))
    kept = tuple(post for post in posts if post not in future)
    return replace(page, posts=kept, problems=(*page.problems, *bounded(problems)))


def _store(
    archive: Archive, database: Database, pages: Iterable[ArchivePage], most: int | None, now: datetime
) -> ExcerptReport:
    """Import page by page, so that nothing is lost if the archive or the user stops."""
    found: dict[int, ArchivedPost] = {}
    problems: list[str] = []
    new = count = 0
    for page in pages:
        count += 1
        problems += page.problems
        room = None if most is None else most - len(found)
        fresh = [p for p in page.posts if p.is_op and p.number not in found][:room]
        found.update((post.number, post) for post in fresh)
        if fresh:
            try:
                with archive.attempts.attempt(f"archive posts {fresh[0].number} to {fresh[-1].number}") as attempt:
                    new += _merge(database, page, fresh, now, attempt)
            except SetAside as error:
                problems.append(str(error))
        if len(found) == most:
            break
    times = [post.posted_at for post in found.values()]
    return ExcerptReport(count, len(found), new, min(times, default=None), max(times, default=None), tuple(problems))


def _merge(database: Database, page: ArchivePage, posts: list[ArchivedPost], now: datetime, attempt: Attempt) -> int:
    """Import ``posts`` of a page; return the number of new ones."""
    counts = page.counts()
    with attempt.waiting_for(database.read) as connection:
        known = archived_times(connection, [post.number for post in posts])
    rows = [as_source_thread(post, counts.get(post.number)) for post in posts]
    # A time corrected with an entire day's posts is better than one corrected with a single page.
    rows = [replace(row, posted_at=known.get(row.thread_id, row.posted_at)) for row in rows]
    prepared = [read_thread(row) for row in rows]
    with attempt.waiting_for(database.write) as connection:
        return merge_threads(connection, prepared, ingested_at=now, seen_at=None).new
