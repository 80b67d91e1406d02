"""Names of labellers: one person stays one labeller, however a file spells the name."""

import unicodedata
from collections.abc import Iterable

UNNAMED_LABELER = "original"  # who rated where a database of the first implementation names nobody


def labeller_name(text: str) -> str:
    """Return a name without blanks around it, and without invisible and control characters; every kind of blank within
    it is a space, and line ends and tabs stay."""
    visible = "".join(
        " " if unicodedata.category(character) == "Zs" else character
        for character in text
        if character.isspace() or unicodedata.category(character) not in ("Cc", "Cf")
    )
    return visible.strip()


class Spellings:
    """One spelling of each labeller: names that differ only in case, or in full-width and other compatible letters, are
    one, and the first spelling counts."""

    def __init__(self, known: Iterable[str] = ()) -> None:
        self._first: dict[str, str] = {}
        for name in known:
            self.of(name)

    def of(self, name: str) -> str:
        """Return the spelling under which ``name`` is known; from now on it is."""
        return self._first.setdefault(unicodedata.normalize("NFKC", name).casefold(), name)
