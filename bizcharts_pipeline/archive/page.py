"""What a page of the Warosu archive holds, once it is read."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

NO_MARKS: frozenset[str] = frozenset()


class MoreFields(TypedDict, total=False):
    """What a post need not have."""

    subject: str | None
    trip: str | None
    capcode: str | None
    file: "ArchivedFile | None"
    ghost_number: int
    marks: frozenset[str]
    omitted_replies: int | None
    corrected_by_seconds: int


@dataclass(frozen=True)
class ArchivedFile:
    """A post's file. The size is as precise as the page says it: whole kilobytes, or hundredths of a megabyte.

    Without ``image_url`` the archive has no copy: either the file was ``removed``, so that the page names it and links
    nothing, or its link still leads to the board's own host.
    """

    name: str | None  # the poster's, with its extension
    bytes: int | None
    width: int | None
    height: int | None
    image_url: str | None = None
    thumbnail_url: str | None = None
    md5: str | None = None  # base64 with its padding, as the board's API writes it
    removed: bool = False


@dataclass(frozen=True, init=False)
class ArchivedPost:
    """One post. Times are naive UTC; ``html`` is what the board's ``com`` would be, in the archive's markup."""

    number: int
    thread_id: int
    stored_at: datetime  # as the page has it
    html: str
    name: str
    subject: str | None = None
    trip: str | None = None  # with its '!' or '!!'
    capcode: str | None = None  # 'mod', 'admin' or 'dev'
    file: ArchivedFile | None = None
    ghost_number: int = 0  # counts the posts of the archive's own users, which the board never had, behind `number`
    marks: frozenset[str] = NO_MARKS  # of 'deleted' (before its time), 'spoiler', 'sticky', 'internal'
    omitted_replies: int | None = None  # on the opening post at a thread's head: those that this page leaves out
    corrected_by_seconds: int = 0

    def __init__(
        self, number: int, thread_id: int, stored_at: datetime, html: str, name: str, **more: Unpack[MoreFields]
    ) -> None:
        # The one that is generated sets every field by a call of its own: a tenth of the time to read a page.
        vars(self).update(more, number=number, thread_id=thread_id, stored_at=stored_at, html=html, name=name)

    @property
    def posted_at(self) -> datetime:
        """When it was posted: ``stored_at``, set right where the name of the picture shows it to be hours too small."""
        return self.stored_at + timedelta(seconds=self.corrected_by_seconds)

    @property
    def is_ghost(self) -> bool:
        """Whether one of the archive's own users wrote it."""
        return self.ghost_number > 0 or "internal" in self.marks

    @property
    def is_op(self) -> bool:
        """Whether it opened its thread."""
        return self.number == self.thread_id and not self.is_ghost

    @property
    def deleted(self) -> bool:
        """Whether it was deleted from the board before its time."""
        return "deleted" in self.marks

    @property
    def spoiler(self) -> bool:
        """Whether its picture is hidden as a spoiler."""
        return "spoiler" in self.marks

    @property
    def sticky(self) -> bool:
        """Whether its thread was kept on top."""
        return "sticky" in self.marks


@dataclass(frozen=True)
class Counts:
    """How many replies of the board, and how many of them with a file, the archive has of a thread."""

    replies: int
    images: int | None  # not told where replies are left out


@dataclass(frozen=True)
class ArchivePage:
    """The readable posts of one page in its order, and what was wrong with it, for people."""

    title: str
    posts: tuple[ArchivedPost, ...] = ()
    problems: tuple[str, ...] = ()
    rejected: int = 0  # posts that are not among `posts`; a problem need not cost the post
    nothing_found: bool = False  # the archive says in words that the search has no result

    def counts(self) -> dict[int, Counts]:
        """Return the counts of the threads that the page tells them of, by number.

        A thread's own page is exact; of those that an index page leaves out, it may count the archive's own users'.
        Search results stand alone. A page with rejected posts tells none.
        """
        heads = {post.number: post.omitted_replies for post in self.posts if post.omitted_replies is not None}
        replies, images = dict.fromkeys(heads, 0), dict.fromkeys(heads, 0)
        for post in self.posts:
            if post.thread_id in heads and not post.is_op and not post.is_ghost:
                replies[post.thread_id] += 1
                images[post.thread_id] += post.file is not None
        if self.rejected:
            return {}
        return {
            number: Counts(replies[number] + omitted, None if omitted else images[number])
            for number, omitted in heads.items()
        }
