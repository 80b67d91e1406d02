"""Row type of the benchmarks, and their timing."""

import time
from collections.abc import Callable
from statistics import median

Row = tuple[str, float, str, str]  # name, value, unit, and a note on the baseline, lower bound or goal


def alternated_medians(
    *tasks: Callable[[], object], rounds: int = 7, clock: Callable[[], float] = time.perf_counter
) -> list[float]:
    """Return each task's median seconds; the tasks alternate, so that a busy moment affects all of them."""
    seconds: list[list[float]] = [[] for _ in tasks]
    for _ in range(rounds):
        for task, taken in zip(tasks, seconds, strict=True):
            started = clock()
            task()
            taken.append(clock() - started)
    return [median(taken) for taken in seconds]
