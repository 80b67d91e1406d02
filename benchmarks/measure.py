"""Rows of the benchmarks, and their timing."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Ratio:
    """A cost over the same cost of a peer or a lower bound, measured in the same run; lower is better.

    ``value`` is the median over ``rounds``, ``spread`` their robust standard deviation (0 with a single round).
    """

    value: float
    rounds: int = 1
    spread: float = 0.0

    def __str__(self) -> str:
        return f"{self.value:.3g}" + (f" ± {self.spread:.2g}" if self.rounds > 1 else "")


# Name, value, unit, and a note on the peer, lower bound or goal. Rows with a ratio enter the history of the figures:
# their names are unique within a room, and stay.
Row = tuple[str, float, str, str] | tuple[str, float, str, str, Ratio]


def ratio(ours: Sequence[float], peer: Sequence[float]) -> Ratio:
    """Return the ratio of two costs that were measured in pairs; a busy moment meets both of a pair."""
    pairs = [a / b for a, b in zip(ours, peer, strict=True)]
    return Ratio(median(pairs), len(pairs), robust_deviation(pairs))


def robust_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation as estimated by the median absolute deviation, which outliers hardly move.

    The small-sample factor n / (n - 0.8) is that of Croux and Rousseeuw (1992).
    """
    if len(values) < 2:
        return 0.0
    middle = median(values)
    return 1.4826 * median(abs(value - middle) for value in values) * len(values) / (len(values) - 0.8)


def alternated(
    *tasks: Callable[[], object], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> list[list[float]]:
    """Return each task's seconds by round; the tasks alternate, so that a busy moment affects all of them."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(rounds):
        for task, taken in zip(tasks, seconds, strict=True):
            started = clock()
            task()
            taken.append(clock() - started)
    return seconds


def peak_bytes() -> int:
    """Return this process's peak memory; that of ``getrusage`` would include its parent's before the program began."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) * 1024


def seconds_of(task: Callable[[], object], rounds: int = 7) -> float:
    """Return a task's median seconds."""
    return median(alternated(task, rounds=rounds)[0])
