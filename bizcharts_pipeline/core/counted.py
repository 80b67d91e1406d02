"""Numbers of things in the texts that people read."""


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return ``number`` with thousands separators and the noun in its number: ``1 row``, ``1,200 rows``.

    Args:
        thing: the noun for one.
        things: the noun for several; by default ``thing`` with an s.
    """
    return f"{number:,} {thing if number == 1 else things or f'{thing}s'}"
