"""The parts of an explained change in plain words, shared by all displays."""

from dataclasses import replace

from bizcharts_pipeline.index.moved import Change, Part

MAX_PARTS = 5  # of a view
_MOST = 0.95  # of the hours: from then on nothing is said of the rest
_WORDS = {
    "came": "new threads",
    "left": "threads that left the window",
    "reweighted": "threads whose replies or copies changed",
    "memory": "older posts, which count less",
    "filters": "trust in fast or slow filters",
}


def terms_in_words(change: Change) -> list[Part]:
    """Return the named terms of what moved the index, which add up to the change; that of the model only where it
    changed.
    """
    words = {**_WORDS, "model": f"model {change.model_to} instead of {change.model_from}"}
    shown = [part for part in change.parts if part.name != "model" or change.model_from != change.model_to]
    return [replace(part, name=words[part.name]) for part in shown]


def missing_in_words(change: Change) -> str | None:
    """Return a sentence on the posts that are missing in what moved the index, or ``None`` if few are."""
    if change.collected is None or change.collected >= _MOST:
        return None
    return (
        f"Only {change.collected:.0%} of the hours between were collected: new threads of the others are missing here, "
        "while older posts leave the window as always."
    )


def view_in_words(parts: tuple[Part, ...], rest: float) -> list[Part]:
    """Return the first parts of a view of what moved the index, the sum of the others, and what is not due to a thread:
    together the change.
    """
    shown, others = list(parts[:MAX_PARTS]), parts[MAX_PARTS:]
    if others:
        shown.append(Part(f"{len(others)} others", sum(part.effect for part in others), 0))
    return [*shown, Part("not due to a thread", rest, 0)]
