"""Formatting of counts in messages."""


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return ``number`` with thousands separators and the noun in singular or plural: ``1 row``, ``1,200 rows``.

    Args:
        thing: the singular.
        things: the plural; by default ``thing`` with an s.
    """
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
