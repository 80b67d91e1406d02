"""Converts a post's HTML, from 4chan or Warosu, to plain text."""

import re

from selectolax.lexbor import LexborHTMLParser

# A comment has at most 2,000 characters on /biz/, 5,000 on any board; with markup, no more than this. The tree builder
# takes quadratic time on some hostile nestings, so the rest is not read.
MAX_HTML_CHARACTERS = 65_536

_WHITE_SPACE = re.compile(r"[ \t\r\n\f]+")
_LINE_BREAK = re.compile(r"<br ?/?>|</?(?:p|pre|div|blockquote|li|tr|code)(?= |>|/)[^<>]*>", re.IGNORECASE)
# C0 and C1 control characters except tab and newline, and lone surrogates, which cannot be encoded.
_UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")
# The parser takes quadratic time for the attributes of a tag; a real one has some hundred characters.
_LONG_TAG = re.compile(r"</?[a-z][^>]{4096,}>?", re.IGNORECASE)
_BLANK_LINES = re.compile(r"\n{3,}")


def html_to_text(html: str) -> str:
    """Return the visible text of a post as plain text.

    ``<br>`` ends a line, ``<wbr>`` joins; greentext keeps its leading ``>``, quote links become ``>>123``, spoilers and
    code keep their text. Control characters are removed; at most one empty line remains between two lines. Only the
    first ``MAX_HTML_CHARACTERS`` are read. Accepts any string and never raises.
    """
    html = _UNPRINTABLE.sub("", _WHITE_SPACE.sub(" ", html[:MAX_HTML_CHARACTERS]))
    text = html
    if "<" in html or "&" in html:
        tree = LexborHTMLParser(_LINE_BREAK.sub("\n", _LONG_TAG.sub("", html)))
        tree.strip_tags(["script", "style"])
        text = _UNPRINTABLE.sub("", (tree.root.text() or "") if tree.root else "")
    lines = (line.strip() for line in text.split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()
