"""Data types for a parsed page of the Warosu archive."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypedDict, Unpack

NO_MARKS: frozenset[str] = frozenset()


class MoreFields(TypedDict, total=False):
    """Optional fields of a post."""

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
    """A post's file. The size is as precise as on the page: whole kilobytes, or hundredths of a megabyte.

    Without ``image_url`` the archive has no copy: either the file was ``removed``, so that the page names it without a
    link, or its link still leads to the board's own host.
    """

    name: str | None  # the poster's, with its extension
    bytes: int | None
    width: int | None
    height: int | None
    image_url: str | None = None
    thumbnail_url: str | None = None
    md5: str | None = None  # base64 with padding, as in the board's API
    removed: bool = False


@dataclass(frozen=True, init=False)
class ArchivedPost:
    """One post. Times are naive UTC; ``html`` corresponds to the board's ``com``, in the archive's markup."""

    number: int
    thread_id: int
    stored_at: datetime  # as on the page
    html: str
    name: str
    subject: str | None = None
    trip: str | None = None  # with its '!' or '!!'
    capcode: str | None = None  # 'mod', 'admin' or 'dev'
    file: ArchivedFile | None = None
    ghost_number: int = 0  # numbers the posts by the archive's own users after `number`; the board never had them
    marks: frozenset[str] = NO_MARKS  # subset of 'deleted' (prematurely), 'spoiler', 'sticky', 'internal'
    omitted_replies: int | None = None  # of an opening post at the head of a thread: replies omitted on this page
    corrected_by_seconds: int = 0

    def __init__(
        self, number: int, thread_id: int, stored_at: datetime, html: str, name: str, **more: Unpack[MoreFields]
    ) -> None:
        # The generated constructor makes a call per field, which takes a tenth of the parsing time.
        vars(self).update(more, number=number, thread_id=thread_id, stored_at=stored_at, html=html, name=name)

    @property
    def posted_at(self) -> datetime:
        """Posting time of the archived post: ``stored_at``, corrected if the picture's name shows that it is hours too
        early.
        """
        return self.stored_at + timedelta(seconds=self.corrected_by_seconds)

    @property
    def is_ghost(self) -> bool:
        """Whether the post was made on the archive itself, not on 4chan (a ghost post)."""
        return self.ghost_number > 0 or "internal" in self.marks

    @property
    def is_op(self) -> bool:
        """Whether the archived post is the opening post of its thread."""
        return self.number == self.thread_id and not self.is_ghost

    @property
    def deleted(self) -> bool:
        """Whether the archived thread was deleted before it would have dropped off the board."""
        return "deleted" in self.marks

    @property
    def spoiler(self) -> bool:
        """Whether the archived post's picture is hidden as a spoiler."""
        return "spoiler" in self.marks

    @property
    def sticky(self) -> bool:
        """Whether the archived post's thread was pinned."""
        return "sticky" in self.marks


@dataclass(frozen=True)
class Counts:
    """Numbers of replies in a thread, and of those with a file, that the archive has from the board."""

    replies: int
    images: int | None  # unknown if replies are omitted


@dataclass(frozen=True)
class ArchivePage:
    """The readable posts of one page in order, and its problems, for messages."""

    title: str
    posts: tuple[ArchivedPost, ...] = ()
    problems: tuple[str, ...] = ()
    rejected: int = 0  # posts missing from `posts`; not every problem rejects its post
    nothing_found: bool = False  # the page states that the search has no result

    def counts(self) -> dict[int, Counts]:
        """Return the numbers of replies and images of the threads on the archive's page that have them, by thread
        number.

        Those from a thread's own page are exact. On an index page, the omitted replies that are counted may include
        some of the archive's own users. Search results, and pages with rejected posts, give no counts.
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
