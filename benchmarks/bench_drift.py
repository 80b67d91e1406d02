"""How rarely the drift alarm is false, and how soon it comes: seven kinds of simulated boards, 200 of each.

    python -m benchmarks drift

The kinds are those of ``drift_worlds.py``. In three of them nothing is wrong with the model: every alarm is false. In
three it goes stale; the delay counts from the first day of the change. A fad of ten days is neither: a new topic with
words of its own, which the scorer does not need. It is shown and promises nothing.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np

from benchmarks.drift_worlds import DRIFT, KINDS, NO_DRIFT, ONSET, SEEDS, WATCHED_DAYS, make_world, watch
from benchmarks.measure import Row
from bizcharts_pipeline.drift.alarm import MONTH


@dataclass(frozen=True)
class Seen:
    """What one world showed: alarms in days from the change on (negative: before it), and what raised them."""

    alarms: tuple[int, ...]
    by: tuple[tuple[str, ...], ...]
    exceeded: dict[str, int]
    stated: float  # false alarms a month, at most

    @property
    def false_before(self) -> int:
        """Alarms before the change."""
        return sum(alarm < 0 for alarm in self.alarms)

    @property
    def delay(self) -> int | None:
        """Days from the change to the first alarm after it; ``None`` if there was none."""
        return next((alarm for alarm in self.alarms if alarm >= 0), None)

    @property
    def first_by(self) -> tuple[str, ...]:
        """The measures that raised the first alarm after the change."""
        return next((by for alarm, by in zip(self.alarms, self.by, strict=True) if alarm >= 0), ())


def see(kind_and_seed: tuple[str, int]) -> Seen:
    """Return what the world of a kind and seed shows."""
    world = make_world(*kind_and_seed)
    outcome = watch(world)
    return Seen(
        tuple(day - world.onset for day in outcome.alarms), outcome.by, outcome.exceeded, outcome.false_alarms_a_month
    )


def simulate(kind: str, seeds: Sequence[int]) -> list[Seen]:
    """Return what the worlds of a kind show, by one process for each core."""
    with get_context("spawn").Pool(os.cpu_count()) as pool:
        return pool.map(see, [(kind, seed) for seed in seeds], chunksize=1)


def false_alarms_a_month(kind: str, seen: Sequence[Seen]) -> tuple[float, float]:
    """Return the mean number of false alarms a month and its standard error between the worlds.

    Where nothing goes wrong all watched days count, elsewhere those before the change.
    """
    days = WATCHED_DAYS if kind in NO_DRIFT else ONSET
    counts = np.array([len(one.alarms) if kind in NO_DRIFT else one.false_before for one in seen]) * MONTH / days
    return float(counts.mean()), float(counts.std(ddof=1) / np.sqrt(len(counts)))


def rows(seeds: int = SEEDS) -> Iterator[Row]:
    """Yield false alarms a month and delays of each kind."""
    for kind in KINDS:
        if kind not in (*NO_DRIFT, *DRIFT):
            seeds = max(2, seeds // 4)
        seen = simulate(kind, range(seeds))
        mean, error = false_alarms_a_month(kind, seen)
        watched = seeds * (WATCHED_DAYS if kind in NO_DRIFT else ONSET)
        stated = f"stated: at most {seen[0].stated:.2f}"
        note = f"± {error:.3f} over {seeds} worlds, {watched:,} days; {stated}"
        yield f"{kind}: false alarms a month", mean, "", note
        if kind in NO_DRIFT:
            continue
        delays = [one.delay for one in seen if one.delay is not None]
        raised = Counter(name for one in seen for name in one.first_by)
        note = f"within {WATCHED_DAYS - ONSET} days, of {seeds}; by " + ", ".join(
            f"{name} {count}" for name, count in raised.most_common()
        )
        yield f"{kind}: share of worlds with an alarm", len(delays) / seeds, "", note
        if delays:
            low, middle, high = np.quantile(delays, [0.1, 0.5, 0.9])
            yield f"{kind}: delay", float(middle), "days", f"median; 80 % of them within {low:.0f} to {high:.0f}"
