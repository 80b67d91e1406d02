"""What pictures add to the index: its error against the hidden mood with and without them, on simulated boards where
pictures carry the stance and where they carry nothing.

A line that maps estimates to the mood's net stance is fitted on other boards, for each model, so that a model whose
scores are merely smaller is not worse. The error is the root mean square over a board's half days.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.measure import Row
from benchmarks.pictured_boards import Board, Pool, estimates, make_board, picture_pool, train_model
from bizcharts_pipeline.demo.mood import Floats
from bizcharts_pipeline.sentiment.fusion import PARTS, FusionModel

BOARDS = 40
FITTED = 20  # boards for the line
PICTURES = 60  # of each stance
FIRST_FITTED = 5_000  # seed


@dataclass(frozen=True)
class Comparison:
    """Errors on each board, text alone and with pictures: (boards,)."""

    text: Floats
    fused: Floats
    model: FusionModel

    @property
    def gain(self) -> float:
        """By how much pictures lower the mean error, as a share of it."""
        return float(1 - self.fused.mean() / self.text.mean())

    @property
    def interval(self) -> tuple[float, float]:
        """95 % interval of the gain, over boards."""
        rng = np.random.default_rng(1)
        drawn = rng.integers(0, len(self.text), (4_000, len(self.text)))
        gains = 1 - self.fused[drawn].mean(axis=1) / self.text[drawn].mean(axis=1)
        lo, hi = np.percentile(gains, [2.5, 97.5])
        return float(lo), float(hi)


def compare(pool: Pool, *, speaking: bool, boards: int, fitted: int = FITTED) -> Comparison:
    """Compare the errors on ``boards`` boards."""
    model = train_model(pool, speaking=speaking)
    known = [make_board(FIRST_FITTED + seed, pool, speaking=speaking) for seed in range(fitted)]
    lines = _lines(known, model)
    errors: list[list[float]] = [[], []]
    for seed in range(boards):
        board = make_board(seed, pool, speaking=speaking)
        for place, (found, (slope, offset)) in enumerate(zip(estimates(board, model), lines, strict=True)):
            wrong = slope * found + offset - board.truth
            errors[place].append(float(np.sqrt((wrong**2).mean())))
    return Comparison(np.array(errors[0]), np.array(errors[1]), model)


def rows(boards: int = BOARDS) -> Iterator[Row]:
    """Yield the errors and the gain of either kind of board."""
    pool = picture_pool(PICTURES)
    for name, speaking in (("pictures carry the stance", True), ("pictures carry nothing", False)):
        found = compare(pool, speaking=speaking, boards=boards)
        lo, hi = found.interval
        weights = ", ".join(
            f"{part} {weight:.2f}" for part, weight in zip(PARTS, found.model.pool.weights, strict=True)
        )
        yield (
            f"{name}: error of text alone",
            float(found.text.mean()),
            "",
            f"{boards} boards of 8 days, 120 posts a day",
        )
        yield (
            f"{name}: error of fusion",
            float(found.fused.mean()),
            "",
            f"weights ({found.model.pool.why['weights']}): {weights}",
        )
        yield f"{name}: error removed", found.gain, "", f"95 % interval {lo:.3f} to {hi:.3f}"


def _lines(boards: Sequence[Board], model: FusionModel) -> list[tuple[float, float]]:
    """Return slope and offset, for text alone and with pictures."""
    truth = np.concatenate([board.truth for board in boards])
    both = zip(*(estimates(board, model) for board in boards), strict=True)
    found = [np.polyfit(np.concatenate(each), truth, 1) for each in both]
    return [(float(slope), float(offset)) for slope, offset in found]
