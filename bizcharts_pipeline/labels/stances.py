"""The three classes, by name and by rating number."""

from typing import Literal

Stance = Literal["bearish", "neutral", "bullish"]

STANCES: tuple[Stance, Stance, Stance] = ("bearish", "neutral", "bullish")
RATINGS: dict[Stance, int] = {stance: number for number, stance in enumerate(STANCES, 1)}  # as in `training_labels`


def stance(rating: int) -> Stance:
    """Return the class of a label's rating, 1 to 3."""
    return STANCES[rating - 1]
