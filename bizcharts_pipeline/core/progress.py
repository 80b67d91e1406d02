"""Progress display for long-running work."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    """Yields ``items`` unchanged and may show progress; ``total`` is their number, if known."""

    def __call__(self, items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]: ...


def silently(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """Return the ``items`` of a long-running piece of work; show no progress."""
    return items


def on_terminal(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Show a progress bar on stderr if it is a terminal, otherwise only the name of the work."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, what, total=total, console=console)
    else:
        console.print(f"{what} ...", soft_wrap=True)
        yield from items
