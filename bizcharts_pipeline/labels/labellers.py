"""Normalization of labeller names, so that different spellings of a name are one labeller."""

import unicodedata
from collections.abc import Iterable

UNNAMED_LABELER = "original"  # labeller in databases of the first implementation that name none


def labeller_name(text: str) -> str:
    """Return a labeller's name as it is stored: with each run of white space replaced by one space."""
    return " ".join(visible(text).split())


def visible(text: str) -> str:
    """Return a labeller's name without surrounding blanks, and without invisible and control characters.

    Every kind of blank within it becomes a space; line ends and tabs stay.
    """
    shown = "".join(
        " " if unicodedata.category(character) == "Zs" else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf")
    )
    return shown.strip()


class Spellings:
    """Canonical spellings of labeller names; the first spelling counts.

    Names that differ only in case, or in full-width and other compatibility characters, are equal.
    """

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._first: dict[str, str] = {}
        for name in known:
            self.of(name)

    def of(self, name: str) -> str:
        """Return the known spelling of a labeller's ``name``; an unknown name is registered with the spelling given."""
        return self._first.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
