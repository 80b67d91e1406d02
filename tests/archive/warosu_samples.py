"""Pages of the archive in each generation of its markup, written by hand in the shape that its notes describe."""

from dataclasses import dataclass
from typing import Literal

Generation = Literal["A", "B", "B2023", "C"]
GENERATIONS: tuple[Generation, ...] = ("A", "B", "B2023", "C")
MS = 1_766_048_430_000  # 2025-12-18 09:00:30 UTC
STEM = "1766048430123456"
HOST = "https://i.warosu.org"
CUT_NOTE = '<span class="omittedposts">{} replies omitted. Click Reply to view.</span>'


@dataclass(frozen=True)
class Sample:
    """One post as a page shows it; ``text`` is HTML that all generations share, save for their own line ends."""

    number: int
    thread: int
    ms: int | str = MS
    subject: str = ""
    name: str = "Anonymous"
    trip: str = ""
    capcode: str = ""
    mail: str = ""
    text: str = "hello"
    file: str = ""  # the file line after 'File: '
    link: str = ""  # the picture's address; the archive's own for STEM if it is "own"
    thumb: str = "own"
    image_class: str = "thumb"
    ghost: int = 0
    marks: tuple[str, ...] = ()


def sample(number: int, thread: int = 0, **fields: object) -> Sample:
    return Sample(number, thread or number, **fields)  # type: ignore[arg-type]


def op(generation: Generation, post: Sample, omitted: int = 0, view: str = "Reply") -> str:
    """An opening post at its thread's head: the file comes before the name."""
    note = CUT_NOTE.format(omitted) if omitted else ""
    inner = f"{_file(generation, post)}{_head(generation, post)} [<a href=/biz/thread/{post.thread}>{view}</a>]"
    inner += f"{_quote(generation, post)}{note}"
    if generation == "A":
        return (
            f'<div id="p{post.number}" itemscope itemtype="http://schema.org/DiscussionForumPosting">\n{inner}</div>\n'
        )
    return (
        f'<div class="comment" id="p{post.number}">{inner}</div>'
        if generation == "C"
        else (f"<div class=comment id=p{post.number}>{inner}</div>")
    )


def cell(generation: Generation, post: Sample, *, result: bool = False) -> str:
    """A reply, or any post among the results of a search, which generations B and C give no id there."""
    anchor = f"p{post.number}" + (f"_{post.ghost}" if post.ghost else "")
    view = f' [<a href="{_href(post)}">View</a>]' if result else ""
    inner = f"{_head(generation, post)}{view}<br>{_file(generation, post)}{_quote(generation, post)}"
    if generation == "A":
        kind = "subreply reply" if post.ghost else "reply"
        return (
            '<table itemscope itemtype="http://schema.org/Comment"><tr>\n<td class="doubledash">&gt;&gt;</td>\n'
            f'<td class="{kind}" id="{anchor}">\n{inner}\n</td>\n</tr></table>\n'
        )
    kind = "comment subreply" if post.ghost else "comment reply"
    if generation == "C":
        own_id = "" if result else f' id="{anchor}"'
        return f'<table><tr><td class="doubledash">&gt;&gt;</td><td class="{kind}"{own_id}>{inner}</td></tr></table>'
    own_id = "" if result else f" id={anchor}"
    return f'<table><tr><td class=doubledash>>><td class="{kind}"{own_id}>{inner}</table>\n'


def results(generation: Generation, *posts: Sample, heading: str = "Search: coin, offset: 0") -> bytes:
    """A page of search results."""
    body = "".join(cell(generation, post, result=True) for post in posts)
    steps = "".join(f"<td>[<a href=/biz/?task=search2&amp;offset={step}>+{step}</a>]</td>" for step in (24, 48, 96))
    foot = f"<table><tr><td class=theader>Navigation<tr><td class=postblock>View posts</td>{steps}</table>"
    return document(generation, body, heading=heading, foot=("" if posts else "No posts found\n") + foot)


def thread(generation: Generation, *posts: Sample) -> bytes:
    """A thread's page, with the form for a reply at its end."""
    body = "".join(op(generation, post) if post.number == post.thread else cell(generation, post) for post in posts)
    form = '<table><tr><td class="doubledash">&gt;&gt;</td><td class="subreply"><textarea name="KOMENTO"></textarea>'
    return document(generation, f'{body}{form}</td></tr></table><br class="newthr"><hr>')


def index(generation: Generation, *threads: tuple[Sample, int, tuple[Sample, ...]]) -> bytes:
    """An index page: of each thread the opening post, how many replies are left out, and the last ones."""
    body = ""
    for opening, omitted, last in threads:
        body += op(generation, opening, omitted) + "".join(cell(generation, post) for post in last)
        body += '<br class="newthr"><hr>'
    return document(generation, body)


def document(generation: Generation, content: str, *, heading: str = "", foot: str = "") -> bytes:
    """A whole page around ``content``."""
    head = f"<title>/biz/ - Business &amp; Finance</title></head><body><h1>/biz/</h1><h2>{heading}</h2><hr>"
    menu = '<form action="/biz/"><input type="hidden" name="task" value="search2"><input name="search_text"></form><hr>'
    if generation == "A":
        kind = '<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Strict//EN" "xhtml1-strict.dtd"><html><head>'
        block = f'<form id="postform" action="/biz/" method="post"><div class="content">\n{content}</div></form>'
    else:
        kind = "<!doctype html><html><head>"
        block = f'<div class="content">{content}</div>' if generation == "C" else f"<div class=content>{content}</div>"
    return f"{kind}{head}{menu}{block}{foot}</body></html>".encode()


def picture(stem: str = STEM, thread: int = 61_000_001, *, thumb: bool = False, extension: str = ".jpg") -> str:
    """The path of a picture, which the thread's number decides."""
    number = f"{thread:09d}"
    kind, ending = ("thumb", "s.jpg") if thumb else ("img", extension)
    return f"/data/biz/{kind}/{number[:4]}/{number[4:6]}/{stem}{ending}"


def _href(post: Sample) -> str:
    if post.number == post.thread and not post.ghost:
        return f"/biz/thread/{post.thread}"
    return f"/biz/thread/{post.thread}#p{post.number}" + (f"_{post.ghost}" if post.ghost else "")


def _head(generation: Generation, post: Sample) -> str:
    number = f"{post.number},{post.ghost}" if post.ghost else str(post.number)
    marks = "".join(f' <img class="inline" src="/media/x.png" alt="[{mark.upper()}]">' for mark in post.marks)
    name, trip = _name(generation, post)
    if generation == "A":
        subject = f'<span class="filetitle" itemprop="name">{post.subject}</span>&nbsp;\n' if post.subject else ""
        return (
            f'<label><input type="checkbox" name="delete" value="{post.number},{post.ghost}" />\n'
            f"{subject}{name}{trip}\n"
            f'<span class="posttime" title="{post.ms}">Thu Dec 18 04:00:30 2025</span></label>\n'
            f'<a class="js" href="{_href(post)}" onclick="replyhighlight(\'p1\')">No.{number}</a>{marks}&nbsp;\n'
        )
    if generation == "C":
        subject = f'<span class="filetitle">{post.subject}</span> ' if post.subject else ""
        time = f'<span class="posttime" title="{post.ms}">Thu, Dec 18, 2025 09:00:30</span>'
        return f'{subject}{name}{trip} {time} <a class="js" href="{_href(post)}">No.{number}</a>{marks}'
    subject = f"<span class=filetitle>{post.subject}</span> " if post.subject else ""
    time = f"<span class=posttime title={post.ms}>Thu, Dec 18, 2025 09:00:30</span>"
    return f"{subject}{name}{trip} {time} <a class=js href={_href(post)}>No.{number}</a>{marks}"


def _name(generation: Generation, post: Sample) -> tuple[str, str]:
    rank = f" {post.capcode}" if post.capcode else ""
    inner = f'<span itemprop="name">{post.name}</span>' if generation == "A" else post.name
    if post.mail:
        inner = f'<a href="mailto:{post.mail}">{inner}</a>'
    css = f"postername{rank or (' ' if generation == 'C' else '')}"
    quoted = f'"{css}"' if generation in "AC" or " " in css else css
    name = f"<span class={quoted}>\n{inner}</span>" if generation == "A" else f"<span class={quoted}>{inner}</span>"
    if post.capcode:
        name += f'<span class="postername{rank}"> ##{post.capcode.title()}</span>'
    trip = f'<span class="postertrip{rank}">&nbsp;{post.trip}</span>' if post.trip else ""
    return name, f'<a href="mailto:{post.mail}">{trip}</a>' if trip and post.mail else trip


def _file(generation: Generation, post: Sample) -> str:
    opening = {"A": "<span>", "B2023": "<span> ", "B": '<span class="fileinfo break-all"> '}.get(
        generation, '<span class="fileinfo"> '
    )
    line = f"{opening}File: {post.file}</span>\n" if post.file else ""
    if generation == "A" and line:
        line += (
            '[<a href="/biz/image/ENjiJza3IPo0LBo-u9l_Ew">View same</a>] [<a href="http://iqdb.org/?url=x">iqdb</a>]\n'
        )
    base = {"A": "//i.warosu.org", "B2023": ""}.get(generation, HOST)
    link = base + picture(thread=post.thread) if post.link == "own" else post.link
    source = base + picture(thread=post.thread, thumb=True) if post.thumb == "own" else post.thumb
    if not link:
        return f"{line}<br>" if line else ""
    if generation in "AC":
        return (
            f'{line}<br><a href="{link}">\n<img class="{post.image_class}" src="{source}" width="9" height="9">\n</a>\n'
        )
    return f"{line}<br><a href={link}> <img class={post.image_class} src={source}> </a>"


def _quote(generation: Generation, post: Sample) -> str:
    if generation == "A":
        text = post.text.replace("<br>", "<br />").replace(",", "&#44;")
        return f'<blockquote><p itemprop="text">\n{text}\n</p></blockquote>'
    return f"<blockquote>{post.text}</blockquote>"
