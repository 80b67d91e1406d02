"""What one measure found on one day."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Measure = Literal["class mix", "domain", "unknown words", "expected accuracy", "confidence", "labels"]

LABEL_FREE: tuple[Measure, ...] = ("class mix", "domain", "unknown words", "expected accuracy", "confidence")
# Those that can raise an alarm: a change of the class mix, while it lasts, is one of the mood.
COUNTED = LABEL_FREE[1:]
LABELS: Measure = "labels"


@dataclass(frozen=True)
class Measured:
    """A measure of the week: what it is, what was expected, and beyond which value it counts as exceeded.

    All figures are ``None`` if it could not be measured; ``details["reason"]`` then says why.
    """

    measure: Measure
    value: float | None = None
    lo: float | None = None  # 95 % interval of the value, where there is one
    hi: float | None = None
    reference: float | None = None
    threshold: float | None = None
    exceeded: bool = False
    n: int = 0  # posts, or labels
    details: Mapping[str, Any] = field(default_factory=dict)


def unmeasured(measure: Measure, reason: str, n: int = 0) -> Measured:
    """Return the result for a measure of drift that could not be computed, with the reason."""
    return Measured(measure, n=n, details={"reason": reason})
