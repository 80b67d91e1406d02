"""Builds the questions about posts: delimited, normalised text and a small image that may be sent."""

import re
import unicodedata
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import duckdb

from bizcharts_pipeline.autolabel.jpegs import MAX_SIDE, QUALITY, small_jpegs
from bizcharts_pipeline.autolabel.keys import Inquiry, Version
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.images.nsfw import may_be_sent
from bizcharts_pipeline.labels.corpus import Picture, Post, load_posts
from bizcharts_pipeline.settings import ImageSettings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.pictures import block_reason

MAX_CHARACTERS = 2_400  # a post on /biz/ has at most 2,000, its subject 100
CUT = " [cut here]"
NO_TEXT = "(no text)"
POSTS_AT_ONCE = 64  # posts whose images are held in memory
# Change this with every change of the question's content; it is part of every prompt's hash.
QUESTION_FORMAT = f"1: <post>, {MAX_CHARACTERS} characters, JPEG {MAX_SIDE} px {QUALITY}"

_QUOTE_LINK = re.compile(r">>(?:>/[a-z0-9]{1,10}/)?\d+")
_LINE_END = re.compile("\r\n?|[\u2028\u2029\x85\x0b\x0c]")
_BLANKS = re.compile(r"[^\S\n]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_INVISIBLE = {"Cc", "Cf", "Cs", "Co"}  # control, format (bidirectional, zero-width, tags), surrogate, private use


def normal_text(text: str) -> str:
    """Return the ``text`` of a post in the form sent to labelling models: NFKC, without invisible characters and quote
    links, with single blanks."""
    text = _LINE_END.sub("\n", unicodedata.normalize("NFKC", text))
    text = "".join(c for c in text.replace("\t", " ") if c == "\n" or unicodedata.category(c) not in _INVISIBLE)
    text = _BLANKS.sub(" ", _QUOTE_LINK.sub("", text))
    return _BLANK_LINES.sub("\n\n", "\n".join(line.strip() for line in text.split("\n"))).strip()


def question_text(subject: str | None, text: str | None) -> str:
    """Return the user message about a post for a labelling model; empty if the post has no text.

    The post is delimited by ``<post>`` and ``</post>``. Each ``<`` in it is replaced by the similar ``‹``, so a post
    cannot close the delimiter. A longer text is truncated, with a mark.
    """
    title, body = normal_text(subject or "").replace("\n", " "), normal_text(text or "")
    whole = f"Subject: {title}\n\n{body}".strip() if title else body
    if not whole:
        return ""
    if len(whole) > MAX_CHARACTERS:
        whole = whole[:MAX_CHARACTERS].rstrip() + CUT
    return _delimited(whole.replace("<", "‹"))


def inquiries(
    database: Database,
    home: Path,
    version: Version,
    threads: Sequence[int],
    images: ImageSettings | None,
    flagged: Callable[[], Collection[int]] = tuple,
) -> Iterator[list[Inquiry]]:
    """Yield the inquiries to a labelling model about ``threads``, a few posts at a time; with images unless ``images``
    is ``None``.

    Posts that were deleted, or are ``flagged`` at that moment, are left out. The database is opened for each group of
    posts only, and never during image decoding.
    """
    for first in range(0, len(threads), POSTS_AT_ONCE):
        forbidden = frozenset(flagged())
        chunk = [thread_id for thread_id in threads[first : first + POSTS_AT_ONCE] if thread_id not in forbidden]
        with database.read() as connection:
            posts = load_posts(connection, chunk)
            sendable = {
                post.thread_id: post.picture.path
                for post in posts
                if post.picture is not None
                and post.picture.path is not None
                and images is not None
                and may_send(post.picture, images)
                and not _is_blocked(connection, post.picture)
            }
        pictures = _pictures(home, sendable)
        order = {thread_id: position for position, thread_id in enumerate(chunk)}
        posts.sort(key=lambda post: order[post.thread_id])
        yield [_inquiry(version, post, pictures.get(post.thread_id)) for post in posts]


def may_send(picture: Picture | None, images: ImageSettings) -> bool:
    """Return whether a post's thumbnail may be sent to a labelling API, according to its row in ``thumbnails``."""
    return picture is not None and may_be_sent(picture.nsfw, picture.status or "", images)


def _is_blocked(connection: duckdb.DuckDBPyConnection, picture: Picture) -> bool:
    """Return whether the image matches the block list, to which hashes may have been added since it was stored."""
    if picture.sha256 is None:
        return True
    md5s = [picture.md5] if picture.md5 else []
    reason = block_reason(connection, sha256=picture.sha256, md5s=md5s, perceptual_hash=picture.perceptual_hash)
    return reason is not None


def _inquiry(version: Version, post: Post, jpeg: bytes | None) -> Inquiry:
    text = question_text(post.subject, post.text)
    questions = []
    if jpeg is not None:
        questions.append(version.question(text or _delimited(NO_TEXT), jpeg))
    if text:
        questions.append(version.question(text, None))
    return Inquiry(post.thread_id, tuple(questions))


def _delimited(text: str) -> str:
    return f"<post>\n{text}\n</post>"


def _pictures(home: Path, paths: dict[int, str]) -> dict[int, bytes]:
    """Return the existing images as small JPEGs, by thread."""
    contents = {}
    for thread_id, path in paths.items():
        try:
            contents[thread_id] = read_regular(home / path)
        except OSError:  # deleted since the database was read
            continue
    made = small_jpegs(list(contents.values()))
    return {thread_id: jpeg for thread_id, jpeg in zip(contents, made, strict=True) if jpeg is not None}
