"""The diagram of the rooms in docs/architecture.md, drawn from the imports.

    python -m tools.architecture          # writes it into the document

Run after a room has begun or ceased to import another; a test compares the document with the imports.
"""

from itertools import permutations
from pathlib import Path

import grimp

DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
PACKAGE = "bizcharts_pipeline"
BEGIN, END = "<!-- rooms: begin -->\n", "<!-- rooms: end -->\n"
EVERYWHERE = {"core", "settings"}  # what nearly every room imports says nothing in a picture
NO_ROOM = {"definitions"}


def rooms_imported() -> dict[str, set[str]]:
    """Return the rooms that each room imports directly, without those that every room may."""
    graph = grimp.build_graph(PACKAGE)
    rooms = {name.removeprefix(f"{PACKAGE}.") for name in graph.find_children(PACKAGE)} - NO_ROOM - EVERYWHERE
    imports: dict[str, set[str]] = {room: set() for room in sorted(rooms)}
    for importer, imported in permutations(sorted(rooms), 2):
        if graph.direct_import_exists(
            importer=f"{PACKAGE}.{importer}", imported=f"{PACKAGE}.{imported}", as_packages=True
        ):
            imports[importer].add(imported)
    return imports


def reduced(imports: dict[str, set[str]]) -> dict[str, set[str]]:
    """Return the imports without those that lead over another room anyway (the transitive reduction)."""
    reach: dict[str, set[str]] = {}

    def reached(room: str) -> set[str]:
        if room not in reach:
            reach[room] = imports[room].union(*(reached(other) for other in imports[room]))
        return reach[room]

    return {
        room: {other for other in direct if not any(other in reached(third) for third in direct - {other})}
        for room, direct in imports.items()
    }


def diagram() -> str:
    """Return the rooms as a Mermaid graph: an arrow leads to what a room is built on."""
    lines = [
        f"    {room} --> {other}" for room, others in reduced(rooms_imported()).items() for other in sorted(others)
    ]
    return "\n".join(["```mermaid", "graph TD", *lines, "```", ""])


def with_diagram(document: str) -> str:
    """Return the document with its diagram drawn anew.

    Raises:
        ValueError: the document has no place for it.
    """
    before, begin, rest = document.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{DOCUMENT} lacks the lines {BEGIN.strip()} and {END.strip()}")
    return before + begin + diagram() + end + after


if __name__ == "__main__":
    DOCUMENT.write_text(with_diagram(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
