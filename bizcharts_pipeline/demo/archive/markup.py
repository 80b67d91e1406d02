"""HTML of the simulated archive's pages: base class of all generations of its markup, and generations B and C.

A is the XHTML of the Fuuka program (until autumn 2023, :mod:`bizcharts_pipeline.demo.archive.xhtml`), B the minified
HTML that followed, with most attributes unquoted, and C is B with quotes again. ``B2023`` is B's first form: file lines
without a class, links to files without a host.
"""

import html
import re
from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from bizcharts_pipeline.demo.archive.posts import ArchiveFile, ArchivePost
from bizcharts_pipeline.demo.archive.search import TEXT_FIELDS

Generation = Literal["A", "B", "B2023", "C"]
TITLE = "Business &amp; Finance"
_BOARD_IMAGES = "https://i.4cdn.org"
ADDRESS = re.compile(r"[\w.+-]+@[\w-]+(?:\.[\w-]+)+")
LINK = re.compile(r"https?://[^\s<]+")
QUOTE = re.compile(r'<a href="#p(\d+)" class="quotelink">(.*?)</a>')
_NEEDS_QUOTES = re.compile(r"[\s\"'=<>`]|^$")
CAPCODES = {"mod": "##Mod", "admin": "##Admin", "dev": "##Developer"}
_ICONS = {
    "[DELETED]": ("deleted.png", "This post was deleted before its lifetime has expired"),
    "[SPOILER]": ("spoilers.png", "The picture is a spoiler"),
    "[STICKY]": ("sticky.png", "This thread stays on top"),
    "[INTERNAL]": ("internal.png", "This post is not from the board"),
}
LONG_THREAD = 50  # number of replies from which a thread has a page with the last fifty


@dataclass(frozen=True)
class IndexEntry:
    """A thread on an index page: its opening post, its last replies and the number of omitted ones."""

    opening: ArchivePost
    last: Sequence[ArchivePost]
    omitted: int


class Markup(ABC):
    """Base class of the page writers, one for each generation of the archive's HTML. In ``ghost`` mode, thread links
    have an ``S`` before the number."""

    def __init__(self, generation: Generation, board: str, image_url: str, *, ghost: bool = False) -> None:
        self.generation, self.board, self.image_url, self.ghost = generation, board, image_url, ghost

    def results(self, title: str, posts: Iterable[ArchivePost], steps: Sequence[tuple[str, str]]) -> str:
        """Return the simulated archive's page of search results; ``steps`` are the names and addresses of the links at
        its foot."""
        found = "".join(self.post(post, result=True) for post in posts)
        heading = f"<h2>{html.escape(title)}</h2>"
        return self.document(heading + (found or "<p>No posts found</p>") + self.navigation("View posts", steps))

    def index(self, entries: Iterable[IndexEntry], steps: Sequence[tuple[str, str]]) -> str:
        """Return a page of the simulated archive's index."""
        body = "".join(
            self.opening(entry.opening, entry.omitted, len(entry.last), index=True)
            + "".join(map(self.post, entry.last))
            + self.rule()
            for entry in entries
        )
        return self.document(body + self.navigation("View pages", steps))

    def thread(self, opening: ArchivePost | None, replies: Sequence[ArchivePost], thread_id: int) -> str:
        """Return the simulated archive's page of a thread; ``opening`` is ``None`` if the page lacks the opening
        post."""
        body = self.opening(opening, 0, len(replies)) if opening else ""
        body += "".join(map(self.post, replies)) + self.reply_form(thread_id) + self.rule()
        return self.document(body, subject=opening.subject if opening else None)

    def error(self, cause: str) -> str:
        """Return the simulated archive's error page, which is Fuuka's."""
        body = f'<div class="error container"><h2>Error!</h2><ul><li>{html.escape(cause)}</li></ul></div>'
        return f"{self.head()}<body><h1>/{self.board}/ - {TITLE}</h1>{body}</body></html>"

    @abstractmethod
    def document(self, content: str, *, subject: str | None = None) -> str: ...

    @abstractmethod
    def head(self, subject: str | None = None) -> str: ...

    @abstractmethod
    def opening(self, post: ArchivePost, omitted: int, shown: int, *, index: bool = False) -> str: ...

    @abstractmethod
    def post(self, post: ArchivePost, *, result: bool = False) -> str: ...

    @abstractmethod
    def navigation(self, label: str, steps: Sequence[tuple[str, str]]) -> str: ...

    @abstractmethod
    def reply_form(self, thread_id: int) -> str: ...

    @abstractmethod
    def rule(self) -> str: ...

    def address(self, post: ArchivePost) -> str:
        """Return the simulated archive's link to a post within its thread; an opening post's link has no anchor."""
        thread = f"/{self.board}/thread/{'S' if self.ghost else ''}{post.thread_id}"
        return thread if post.opening else f"{thread}#{anchor(post)}"

    def files(self, post: ArchivePost, file: ArchiveFile) -> tuple[str, str]:
        """Return the addresses of the full picture and its thumbnail at the simulated archive."""
        thumbnail = f"{self.image_base}{image_path(self.board, post.thread_id, file.stem, 's.jpg')}"
        if file.state == "foreign":
            return f"{_BOARD_IMAGES}/{self.board}/{file.stem}{file.extension}", thumbnail
        return f"{self.image_base}{image_path(self.board, post.thread_id, file.stem, file.extension)}", thumbnail

    @property
    def image_base(self) -> str:
        return {"A": self.image_url.removeprefix("http:"), "B2023": ""}.get(self.generation, self.image_url)


class Html5(Markup):
    """Page writer of generations B and C."""

    @property
    def quoted(self) -> bool:
        return self.generation == "C"

    def tag(self, name: str, /, **attributes: str | int) -> str:
        """Return a start tag of the simulated archive's pages. Attribute values are quoted where HTML requires it; in
        generation C, always."""
        parts = [name]
        for key, value in attributes.items():
            text = html.escape(str(value))
            needs = self.quoted or _NEEDS_QUOTES.search(text)
            parts.append(f'{key.rstrip("_")}="{text}"' if needs else f"{key.rstrip('_')}={text}")
        return f"<{' '.join(parts)}>"

    def end(self, *names: str) -> str:
        """Return end tags of the simulated archive's pages, which generation B omits."""
        return "".join(f"</{name}>" for name in names) if self.quoted else ""

    def document(self, content: str, *, subject: str | None = None) -> str:
        return (
            f"{self.head(subject)}<body><div>[ {self.tag('a', href=f'/{self.board}/')}{self.board}</a> ]</div>"
            f"<h1>/{self.board}/ - {TITLE}</h1><hr>"
            f"{self.tag('form', action=f'/{self.board}/')}"
            f"{self.tag('input', type='hidden', name='task', value='search2')}"
            f"{''.join(self.tag('input', name=name) for name in TEXT_FIELDS)}</form><hr>"
            f"{self.tag('div', class_='content')}{content}</div></body></html>"
        )

    def head(self, subject: str | None = None) -> str:
        named = self.tag("meta", property="og:title", content=html.unescape(subject)) if subject and self.quoted else ""
        return (
            f"<!doctype html>{self.tag('html', lang='en')}<head>{self.tag('meta', charset='utf-8')}"
            f"<title>/{self.board}/ - {TITLE}</title>{named}"
            f"{self.tag('link', rel='stylesheet', href='/media/fuuka.css')}</head>"
        )

    def opening(self, post: ArchivePost, omitted: int, shown: int, *, index: bool = False) -> str:
        links = f" [{self.tag('a', href=self.address(post))}Reply</a>]"
        if index and omitted + shown > LONG_THREAD:
            links += f" [{self.tag('a', href=f'/{self.board}/last50/{post.thread_id}')}Last 50</a>]"
        tail = f"{self.tag('span', class_='omittedposts')}{omitted_line(omitted)}</span>" if omitted else ""
        return (
            f"{self.tag('div', class_='comment', id=anchor(post))}{self._file(post)}{self._label(post)}{links}\n"
            f"<blockquote>{self._comment(post)}</blockquote>{tail}</div>\n"
        )

    def post(self, post: ArchivePost, *, result: bool = False) -> str:
        kind = "comment subreply" if post.ghost else "comment reply"
        cell = self.tag("td", class_=kind) if result else self.tag("td", class_=kind, id=anchor(post))
        view = f" [{self.tag('a', href=self.address(post))}View</a>]" if result else ""
        dash = f"{self.tag('td', class_='doubledash')}{'&gt;&gt;</td>' if self.quoted else '>>'}"
        return (
            f"<table><tr>{dash}{cell}{self._label(post)}{view}<br>\n{self._file(post)}"
            f"<blockquote>{self._comment(post)}</blockquote>{self.end('td', 'tr')}</table>\n"
        )

    def navigation(self, label: str, steps: Sequence[tuple[str, str]]) -> str:
        links = " ".join(f"[{self.tag('a', href=address)}{name}</a>]" for name, address in steps)
        cell = self.tag("td", class_="postblock")
        return (
            f"<table><tr>{self.tag('td', class_='theader', colspan=2)}Navigation{self.end('td', 'tr')}"
            f"<tr>{cell}{label}{self.end('td')}<td>{links}{self.end('td', 'tr')}</table>"
        )

    def reply_form(self, thread_id: int) -> str:
        dash = f"{self.tag('td', class_='doubledash')}{'&gt;&gt;</td>' if self.quoted else '>>'}"
        parent = self.tag("input", type="hidden", name="parent", value=thread_id)
        return (
            f"<table><tr>{dash}{self.tag('td', class_='subreply')}{parent}"
            f"{self.tag('input', name='NAMAE')}{self.tag('textarea', name='KOMENTO')}</textarea>"
            f"{self.end('td', 'tr')}</table>"
        )

    def rule(self) -> str:
        return f"{self.tag('br', class_='newthr')}<hr>"

    def _label(self, post: ArchivePost) -> str:
        kind = f" {post.capcode}" if post.capcode else " " if self.quoted else ""
        rank = f" {CAPCODES[post.capcode]}" if post.capcode else ""
        subject = f"{self.tag('span', class_='filetitle')}{post.subject}</span> " if post.subject else ""
        name = f"{self.tag('span', class_='postername' + kind)}{html.escape(post.name)}{rank}</span>"
        if post.trip:
            name += f"{self.tag('span', class_='postertrip')}&nbsp;{html.escape(post.trip)}</span>"
        if post.mail:
            name = f"{self.tag('a', href=mailto(post.mail))}{name}</a>"
        shown = datetime.fromtimestamp(post.stored, UTC)
        marks = "".join(
            f" {self.tag('img', class_='inline', src=f'/media/{picture}', alt=name_, title=title)}"
            for name_, picture, title in icons(post)
        )
        number = f"{post.number},{post.ghost}" if post.ghost else str(post.number)
        return (
            f"{subject}{name}\n{self.tag('span', class_='posttime', title=post.stored * 1000)}"
            f"{shown:%a, %b} {shown.day}, {shown:%Y %H:%M:%S}</span>\n"
            f"{self.tag('a', class_='js', href=self.address(post))}No.{number}</a>{marks}"
        )

    def _file(self, post: ArchivePost) -> str:
        file = post.file
        if file is None:
            return ""
        full, thumbnail = self.files(post, file)
        span = "<span>" if self.generation == "B2023" else self.tag("span", class_="fileinfo break-all")
        line = f"{span} {html.escape(file_line(file))}</span><br>\n"
        if file.state == "removed":
            return line
        image = self.tag("img", class_="thumb", src=thumbnail)
        if file.state == "no thumbnail":
            image = self.tag("img", class_="nothumb", src="/media/error.png", alt="ERROR")
        link = f"<a href={full}>" if post.thread_id % 4 else self.tag("a", href=full)  # in C too, some are unquoted
        return f"{line}{link} {image} </a>\n"

    def _comment(self, post: ArchivePost) -> str:
        spoiler, line = self.tag("span", class_="spoiler"), self.tag("span", class_="unkfunc")
        text = post.comment.replace("<wbr>", "").replace('<span class="quote">', line)
        text = text.replace("<s>", spoiler).replace("</s>", "</span>")
        text = LINK.sub(lambda link: f"{self.tag('a', href=html.unescape(link[0]))}{link[0]}</a>", text)

        def quote(found: re.Match[str]) -> str:
            number, shown = found.groups()
            if int(number) != post.thread_id:
                return f"{self.tag('a', href=f'/{self.board}/post/{number}')}{shown}</a>"
            return f"{self.tag('a', class_='backlink', href=f'#p{number}')}{shown}</a>"

        return ADDRESS.sub(hidden, QUOTE.sub(quote, text))


def anchor(post: ArchivePost) -> str:
    """Return a post's anchor on its page of the simulated archive."""
    return f"p{post.number}_{post.ghost}" if post.ghost else f"p{post.number}"


def image_path(board: str, thread_id: int, stem: str, ending: str) -> str:
    """Return the simulated archive's path of a picture or thumbnail (``ending`` 's.jpg'), from its thread's number of
    nine digits."""
    number = f"{thread_id:09d}"
    return f"/data/{board}/{'thumb' if ending == 's.jpg' else 'img'}/{number[:4]}/{number[4:6]}/{stem}{ending}"


def file_line(file: ArchiveFile) -> str:
    """Return the file line of a post in the simulated archive: size, dimensions and the poster's file name."""
    if file.size < 1024:
        size = f"{file.size} B"
    elif file.size < 2**20:
        size = f"{file.size // 1024} KB"
    else:
        size = f"{file.size / 2**20:.2f} MB"
    return f"File: {size}, {file.width}x{file.height}, {file.name}"


def icons(post: ArchivePost) -> list[tuple[str, str, str]]:
    """Return the icons of a post in the simulated archive: name, picture and title of each."""
    marks = {
        "[DELETED]": post.deleted,
        "[SPOILER]": post.spoiler,
        "[STICKY]": post.sticky,
        "[INTERNAL]": post.ghost > 0,
    }
    return [(name, *_ICONS[name]) for name, marked in marks.items() if marked]


def omitted_line(count: int) -> str:
    return f"{count} {'reply' if count == 1 else 'replies'} omitted. Click Reply to view."


def mailto(mail: str) -> str:
    """Return a mail link of the simulated archive; Cloudflare obfuscates valid addresses in links too."""
    return f"/cdn-cgi/l/email-protection#{_coded(mail)}" if ADDRESS.fullmatch(mail) else f"mailto:{mail}"


def hidden(address: re.Match[str]) -> str:
    return f'<span class="__cf_email__" data-cfemail="{_coded(address[0])}">[email&#160;protected]</span>'


def _coded(address: str) -> str:
    """Return Cloudflare's encoding of an address: a key byte, then each byte XORed with the key, in hexadecimal
    digits."""
    key = len(address) * 37 % 256
    return bytes([key, *(byte ^ key for byte in address.encode())]).hex()
