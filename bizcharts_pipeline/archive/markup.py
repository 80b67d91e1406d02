"""Parser for the Warosu archive's search, index and thread pages, in every generation of its markup.

Warosu is a Fuuka archive without an API. Its markup has changed twice: quoted XHTML until October 2023, then minified
HTML with unquoted attributes and without optional end tags, then quoted again. So no part of a post is searched for in
the raw text: an HTML5 parser builds the tree, and its elements are identified by tags, class tokens and links.
"""

import re
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from urllib.parse import urlsplit

from selectolax.lexbor import LexborHTMLParser, LexborNode

from bizcharts_pipeline.archive.bounds import check_bounds
from bizcharts_pipeline.archive.errors import ArchiveFormatError, refusal, text_of, truncation
from bizcharts_pipeline.archive.page import NO_MARKS, ArchivedFile, ArchivedPost, ArchivePage, Counts, MoreFields
from bizcharts_pipeline.core.clock import to_epoch
from bizcharts_pipeline.http.fields import SITE_OPENED, bounded

__all__ = ["ArchiveFormatError", "ArchivePage", "ArchivedFile", "ArchivedPost", "Counts", "parse_page"]

IMAGE_URL = "https://i.warosu.org"
# A thread of 500 posts has half a megabyte.
MAX_PAGE_BYTES = 2 * 1024 * 1024
# For some years posts have New York's local time stored as UTC: 5 hours too early, in summer 4.
WRONG_BY_SECONDS = (18_000, 14_400)
MAX_DIGITS = 18  # of a number
TOLERANCE_SECONDS = 5  # between a post's time and the one in its picture's name
NOTHING_FOUND = "No posts found"

_CELLS = "td.reply,td.subreply,[id^=p]"  # on search pages since 2023, cells have no id
_HIDDEN_ADDRESS = (
    "[email\N{NO-BREAK SPACE}protected]",
    "[email protected]",
)  # put there by Cloudflare
_OPAQUE = frozenset({"blockquote", "table", "br", "hr", "input", "script", "style", "textarea"})
_SPAN_KINDS = ("posttime", "postername", "postertrip", "filetitle", "fileinfo")
_CAPCODES = frozenset({"mod", "admin", "dev"})
_MARKS = {f"[{mark.upper()}]": mark for mark in ("deleted", "spoiler", "sticky", "internal")}
_UNITS = {"B": 1, "KB": 1024, "MB": 1024**2, "GB": 1024**3}
_SPACE = " \t\r\n\f"  # HTML white space only: a name may begin with an ideographic space

_POST_ID = re.compile(r"p([0-9]{1,18})(?:_([0-9]{1,9}))?")
_THREAD_LINK = re.compile(r"/thread/S?([0-9]+)(?:#p?([0-9]+)(?:_([0-9]{1,9}))?)?")
_NUMBER_TEXT = re.compile(r"No\.\s*([0-9]+)(?:,([0-9]{1,9}))?")
_DELETE_VALUE = re.compile(r"([0-9]{1,18})(?:,([0-9]{1,9}))?")
_FILE_LINE = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?([KMG]?B), ?([0-9]{1,9})x([0-9]{1,9}), ?(.+)", re.DOTALL)
_SAME_LINK = re.compile(r"/image/([A-Za-z0-9_-]{22})(?![A-Za-z0-9_-])")
_PICTURE_LINK = re.compile(r"(?:(?:https?:)?//([^/?#]+))?(/data/[^?#\s]+)")
_STEM = re.compile(r"/([0-9]{10})(?:[0-9]{3}|[0-9]{6})s?\.[A-Za-z0-9]{1,8}$")
_FIRST_NUMBER = re.compile(r"[0-9]{1,9}")

_EPOCH = datetime(1970, 1, 1)
_FIRST_SECOND, _LAST_SECOND = int(to_epoch(SITE_OPENED)), int(to_epoch(datetime(2100, 1, 1)))


def parse_page(body: bytes, *, image_url: str = IMAGE_URL) -> ArchivePage:
    """Parse a search, index or thread page of the archive; deterministic.

    A post without a readable number, thread and time is rejected; any other unreadable field is left out. All are named
    in ``problems``. Picture links are rewritten to ``image_url``, whichever of the archive's hosts the page names: over
    the years it used several, with the same paths.

    Raises:
        ArchiveFormatError: it is not such a page, exceeds the :mod:`bounds`, is truncated, or none of its posts can be
            read.
    """
    if len(body) > MAX_PAGE_BYTES:
        raise ArchiveFormatError(f"The page has {len(body):,} bytes; the limit is {MAX_PAGE_BYTES:,}")
    check_bounds(body)
    tree = LexborHTMLParser(body)
    content = tree.css_first("div.content")
    cells = _cells(content, body) if content is not None else []
    if content is None or not cells:
        return _page_without_posts(tree, content, body)
    if cut := truncation(body, content):
        raise ArchiveFormatError(cut)
    reader = _Reader(image_url)
    posts: dict[tuple[int, int], ArchivedPost] = {}
    problems: list[str] = []
    rejected = 0
    for place, (cell, omitted) in enumerate(cells, start=1):
        notes: list[str] = []
        try:
            post = reader.read(cell, omitted, notes)
            if posts.setdefault((post.number, post.ghost_number), post) is not post:
                notes.append(f"No. {post.number} occurs twice")
        except _BadPost as error:
            notes.append(str(error))
            rejected += 1
        if notes:
            problems += [f"post {place} of the page: {note}" for note in notes]
    if strays := _strays(content, body, cells):
        problems.append(f"{strays} posts are outside the known post blocks")
    if not posts:
        raise ArchiveFormatError(
            f"None of the page's {len(cells):,} posts can be read ({'; '.join(problems[:2])}): the archive's layout "
            "has changed. Inspect the page and adapt the parser; nothing is stored until then"
        )
    return ArchivePage(_title(tree), tuple(posts.values()), bounded(problems), rejected + strays)


class _BadPost(Exception):
    """A post cannot be read."""


def _cells(content: LexborNode, body: bytes) -> list[tuple[LexborNode, LexborNode | None]]:
    """Return the element of each post, with the element that counts the replies omitted after it, if any."""
    cells: list[tuple[LexborNode, LexborNode | None]] = []
    last = None
    for node in content.css(_CELLS if b"omittedposts" not in body else f"{_CELLS},.omittedposts"):
        if node.mem_id == last:
            continue  # matched by two selectors
        last = node.mem_id
        post_id = node.id
        if (post_id and _POST_ID.fullmatch(post_id)) or (node.tag == "td" and not _is_reply_form(node)):
            cells.append((node, None))
        elif cells and "omittedposts" in (node.attributes.get("class") or ""):
            cells[-1] = (cells[-1][0], node)
    return cells


def _is_reply_form(cell: LexborNode) -> bool:
    """Whether a cell without a post's id is the reply form at the end of a thread's page."""
    tokens = (cell.attributes.get("class") or "").split()
    return "reply" not in tokens and cell.css_first(".posttime,blockquote") is None


def _strays(content: LexborNode, body: bytes, cells: list[tuple[LexborNode, LexborNode | None]]) -> int:
    """Return the number of post times outside the known post blocks."""
    if body.count(b"posttime") <= len(cells):
        return 0
    known = {cell.mem_id for cell, _ in cells}
    return sum(not _is_inside(time, known) for time in content.css(".posttime"))


def _is_inside(node: LexborNode | None, known: set[int]) -> bool:
    while node is not None and node.mem_id not in known:
        node = node.parent
    return node is not None


@dataclass(slots=True)
class _Fields:
    """Contents of a post's elements, as found; of each kind the first counts."""

    title: str | None = None  # of the time element: milliseconds
    html: str | None = None
    name: str | None = None
    link: LexborNode | None = None  # the first link to the thread
    thread: re.Match[str] | None = None
    has_file: bool = False
    file_line: str | None = None
    picture: str | None = None
    thumbnail: str | None = None
    md5: str | None = None
    more: MoreFields = field(default_factory=MoreFields)

    def collect(self, cell: LexborNode) -> None:
        """Collect the contents of ``cell`` of the archive's page, except in tables and other posts within it."""
        pending = [cell]
        for container in pending:
            for element in container.iter():
                tag = element.tag
                if tag == "span":
                    self._span(element, pending)
                elif tag == "a":
                    self._link(element, pending)
                elif tag == "blockquote":
                    if self.html is None:
                        self.html = element.inner_html
                elif tag == "img":
                    self._image(element, None)
                elif tag not in _OPAQUE and not (tag == "div" and _POST_ID.fullmatch(element.id or "")):
                    pending.append(element)

    def _span(self, span: LexborNode, pending: list[LexborNode]) -> None:
        attributes = span.attributes
        kind = _span_kind(attributes.get("class"))
        if kind == "posttime":
            self.title = self.title or attributes.get("title")
        elif kind == "postername":
            if self.name is None:
                self.name = _text(span)
        elif kind in _CAPCODES:
            self._official(_text(span), kind)
        elif kind == "postertrip":
            if trip := _text(span).strip("\N{NO-BREAK SPACE}" + _SPACE):
                self.more.setdefault("trip", trip)
        elif kind == "filetitle":
            if subject := _text(span):
                self.more.setdefault("subject", subject)
        elif kind == "fileinfo" and (text := _text(span)).startswith("File:"):
            self.file_line, self.has_file = self.file_line or text[5:].strip(_SPACE), True
        else:
            pending.append(span)

    def _official(self, text: str, capcode: str) -> None:
        """Store the name of an official poster; ``##Mod`` follows it, within its span or in a separate one."""
        self.more.setdefault("capcode", capcode)
        if self.name is None:
            self.name = text.partition("##")[0].rstrip(_SPACE)

    def _link(self, link: LexborNode, pending: list[LexborNode]) -> None:
        href = link.attributes.get("href") or ""
        if "/thread/" in href:
            if self.thread is None:
                self.thread, self.link = _THREAD_LINK.search(href), link
        elif "/image/" in href:
            if self.md5 is None and (same := _SAME_LINK.search(href)):
                self.md5 = same[1].replace("-", "+").replace("_", "/") + "=="
        elif not href.startswith("javascript:"):
            for element in link.iter():
                if element.tag == "img":
                    self._image(element, href)
                elif element.tag == "span":
                    self._span(element, pending)

    def _image(self, image: LexborNode, href: str | None) -> None:
        attributes = image.attributes
        if mark := _MARKS.get(attributes.get("alt") or ""):
            self.more["marks"] = self.more.get("marks", NO_MARKS) | {mark}
        tokens = (attributes.get("class") or "").split()
        if href is not None and ("thumb" in tokens or "nothumb" in tokens or _PICTURE_LINK.match(href)):
            self.picture, self.has_file = self.picture or href, True
        if "thumb" in tokens:
            self.thumbnail, self.has_file = self.thumbnail or attributes.get("src"), True


@lru_cache(maxsize=256)
def _span_kind(css: str | None) -> str:
    """Return the kind of a span with this ``class``, '' if unknown. Until 2024 a file line had no class."""
    tokens = (css or "").split()
    kind = next((kind for kind in _SPAN_KINDS if kind in tokens), "" if tokens else "fileinfo")
    return next((token for token in tokens if token in _CAPCODES), kind) if kind == "postername" else kind


class _Reader:
    """Parses the posts of one page."""

    def __init__(self, image_url: str) -> None:
        self._image_url = image_url
        self._own_host = urlsplit(image_url).netloc

    def read(self, cell: LexborNode, omitted: LexborNode | None, notes: list[str]) -> ArchivedPost:
        """Return the archived post; missing fields are added to ``notes``.

        Raises:
            _BadPost: its number, thread or time cannot be read.
        """
        fields = _Fields()
        fields.collect(cell)
        if fields.thread is None:
            raise _BadPost("no link to its thread")
        more = fields.more
        thread_id = _whole(fields.thread[1])
        number, ghost_number = _number(cell, fields)
        if ghost_number:
            more["ghost_number"] = ghost_number
        second = _stored_second(fields.title)
        if fields.has_file:
            more["file"] = self._file(fields, notes)
            more["corrected_by_seconds"] = _correction(second, fields)
        if number == thread_id and cell.tag != "td":
            more["omitted_replies"] = _omitted(omitted, notes)
        html = fields.html
        if html is None or fields.name is None:
            notes.append(f"No. {number} has no {'text block' if html is None else 'name'}")
        elif "__cf_email__" in html:
            html = html.replace("[email&nbsp;protected]", _HIDDEN_ADDRESS[1])
        stored_at = _EPOCH + timedelta(0, second)
        return ArchivedPost(number, thread_id, stored_at, html or "", fields.name or "", **more)

    def _file(self, fields: _Fields, notes: list[str]) -> ArchivedFile | None:
        picture, thumbnail = self._own(fields.picture), self._own(fields.thumbnail)
        line = _FILE_LINE.fullmatch(fields.file_line or "")
        if fields.file_line is None and picture is None and thumbnail is None:
            return None  # an icon, not a picture
        if line is None:
            notes.append(f"its file line is {(fields.file_line or '')[:60]!r}")
            return ArchivedFile(fields.file_line, None, None, None, picture, thumbnail, fields.md5)
        return ArchivedFile(
            name=line[5],
            bytes=round(float(line[1]) * _UNITS[line[2]]),
            width=int(line[3]),
            height=int(line[4]),
            image_url=picture,
            thumbnail_url=thumbnail,
            md5=fields.md5,
            removed=fields.picture is None and thumbnail is None,
        )

    def _own(self, url: str | None) -> str | None:
        """Return a picture's URL on the configured image host, if it is on one of the archive's hosts."""
        link = _PICTURE_LINK.match(url or "")
        if link is None:
            return None
        host = (link[1] or self._own_host).lower()
        own = host == self._own_host or host == "warosu.org" or host.endswith(".warosu.org")
        return f"{self._image_url}{link[2]}" if own else None


def _number(cell: LexborNode, fields: _Fields) -> tuple[int, int]:
    """Return the post's number and its ghost number; they must match its link."""
    thread, link = fields.thread, fields.link
    assert thread is not None
    assert link is not None
    linked = thread[2] or thread[1]
    own_id = cell.id
    if own_id == f"p{linked}" and not thread[3]:
        return _whole(linked), 0
    stated = _POST_ID.fullmatch(own_id or "") or _NUMBER_TEXT.search(link.text()) or _delete_value(cell)
    if stated is None:
        return _whole(linked), int(thread[3] or 0)
    number = _whole(stated[1])
    if number != _whole(linked):
        raise _BadPost(f"it is No. {number}, but its link leads to {linked}")
    return number, int(stated[2] or thread[3] or 0)


def _whole(digits: str) -> int:
    """Return the number of a post or a thread; raises :class:`_BadPost` if none can have it."""
    if len(digits) > MAX_DIGITS or not int(digits):
        raise _BadPost(f"its number is out of range: {digits if len(digits) <= MAX_DIGITS else 'huge'}")
    return int(digits)


def _delete_value(cell: LexborNode) -> re.Match[str] | None:
    box = cell.css_first("input[name=delete]")
    return _DELETE_VALUE.fullmatch(box.attributes.get("value") or "") if box is not None else None


def _stored_second(title: str | None) -> int:
    if title is None:
        raise _BadPost("its time is missing")
    if not (title.isascii() and title.isdecimal() and len(title) <= 15):
        raise _BadPost(f"its time is {title[:40]!r}")
    second = int(title) // 1000
    if not _FIRST_SECOND <= second < _LAST_SECOND:
        raise _BadPost(f"its time {title} is before {SITE_OPENED:%Y-%m-%d} or after 2099")
    return second


def _correction(stored_second: int, fields: _Fields) -> int:
    """Return the seconds to add to a wrong time: a picture's name begins with the second of its upload."""
    stem = _STEM.search(fields.picture or "") or _STEM.search(fields.thumbnail or "")
    if stem is None:
        return 0
    behind = int(stem[1]) - stored_second
    return next((wrong for wrong in WRONG_BY_SECONDS if abs(behind - wrong) <= TOLERANCE_SECONDS), 0)


def _omitted(shown: LexborNode | None, notes: list[str]) -> int | None:
    if shown is None:
        return 0
    count = _FIRST_NUMBER.search(shown.text())
    if count is None:
        notes.append(f"omitted replies are {_text(shown)[:40]!r}")
        return None
    return int(count[0])


def _text(node: LexborNode) -> str:
    text = node.text().strip(_SPACE)
    return text.replace(*_HIDDEN_ADDRESS) if "[email" in text else text


def _title(tree: LexborHTMLParser) -> str:
    return text_of(tree.css_first("title"))[:200]


def _page_without_posts(tree: LexborHTMLParser, content: LexborNode | None, body: bytes) -> ArchivePage:
    """Return a page without posts: an empty search result, or an index page past the last."""
    title = _title(tree)
    is_search = any(text_of(heading).startswith("Search") for heading in tree.css("h2"))
    if NOTHING_FOUND.encode() in body:
        tree.strip_tags(["script", "style", "title", "h1", "h2", "textarea"])  # the words may be the search term
        if tree.body is not None and NOTHING_FOUND in tree.body.text():
            return ArchivePage(title, nothing_found=True)
    if content is None or is_search or content.css_first("a[href*='/thread/'],.posttime,blockquote"):
        raise refusal(tree, title, body)
    return ArchivePage(title)
