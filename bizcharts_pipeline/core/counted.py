"""Formatting of counts and lists in messages."""

from collections.abc import Sequence

MAX_NAMED = 3


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return ``number`` with thousands separators and the noun in singular or plural: ``1 row``, ``1,200 rows``.

    Args:
        thing: the singular.
        things: the plural; by default ``thing`` with an s.
    """
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"


def some_of(names: Sequence[str]) -> str:
    """Return the first few of ``names`` for a message, and the number of the others."""
    rest = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + rest
