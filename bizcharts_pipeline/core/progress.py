"""How far a long piece of work is, for people who wait for it."""

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar

Item = TypeVar("Item")


class Track(Protocol):
    """Passes ``items`` on, one by one, and may show how far it is; ``total`` is how many there are, if known."""

    def __call__(self, items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]: ...


def silently(items: Iterable[Item], what: str, total: int | None = None) -> Iterable[Item]:
    """Show nothing."""
    return items


def on_terminal(items: Iterable[Item], what: str, total: int | None = None) -> Iterator[Item]:
    """Show a bar on stderr; into a pipe or a file, the name of the work alone."""
    from rich.console import Console
    from rich.progress import track

    console = Console(stderr=True)
    if console.is_terminal:
        yield from track(items, what, total=total, console=console)
    else:
        console.print(f"{what} ...", soft_wrap=True)
        yield from items
