"""Text that strangers wrote, made safe to show: posts, subjects, names of coins, models and labellers."""

import re
import unicodedata
from html import escape

MAX_CHARACTERS = 200  # of a post that are shown
MAX_WORD = 40  # a longer one may be broken at any place
_ELLIPSIS = "…"
_SPACE = re.compile(r"\s+")
_LONG = re.compile(rf"(\S{{{MAX_WORD}}})(?=\S)")


def plain(text: str | None, most: int = MAX_CHARACTERS) -> str:
    """Return ``text`` that a stranger wrote in one line of at most ``most`` characters, without what changes how its
    surroundings are read.

    Control characters, and the marks and overrides of writing direction, are left out, as are stacks of more than two
    combining marks; white space is one blank.
    """
    kept: list[str] = []
    stacked = 0
    for character in (text or "")[: 4 * most]:
        kind = unicodedata.category(character)
        stacked = stacked + 1 if kind == "Mn" else 0
        if kind == "Cf" or stacked > 2:
            continue
        kept.append(" " if kind in ("Cc", "Cs", "Zl", "Zp", "Zs") else character)
    line = _SPACE.sub(" ", "".join(kept)).strip()
    cut = len(line) > most or len(text or "") > 4 * most
    return line[: most - 1].rstrip() + _ELLIPSIS if cut else line


def as_html(text: str | None, most: int = MAX_CHARACTERS) -> str:
    """Return ``text`` for an HTML element or a quoted attribute; it cannot end either. Long words are
    made breakable, so it is not for addresses."""
    return escape(_LONG.sub("\\1\u200b", plain(text, most)), quote=True)
