"""Explanation of the change of the stance between two moments: the decomposition, by stored posts and in words.

Each moment is explained by the model that was published then; where the two differ, the change of the model is a term
of its own, taken at the earlier moment.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import duckdb
import numpy as np

from bizcharts_pipeline.index.decomposition import Contributions, Moment, decompose, moment_of
from bizcharts_pipeline.index.level import Prior
from bizcharts_pipeline.index.moved_store import (
    ChangeNotExplained,
    StoredPosts,
    ThreadWords,
    load_change,
    load_words,
    model_at,
)
from bizcharts_pipeline.index.store import load_coverage
from bizcharts_pipeline.index.stretch import Coverage
from bizcharts_pipeline.index.sums import SETTLING_HOURS
from bizcharts_pipeline.index.votes import HOUR, Floats, from_us, to_us
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database import Database

MAX_SPAN = timedelta(days=366)  # which bounds memory
NO_COIN, NO_GENERAL = "no coin", "no general"


@dataclass(frozen=True)
class Part:
    """One line of a list that adds up: what it stands for, what it moved, and how many threads it has."""

    name: str
    effect: float  # in units of the stance
    threads: int


@dataclass(frozen=True)
class MovedThread:
    """One thread's share in the change. Subject and text are as their author wrote them, cut at 1,000 characters.

    They are None where the board has deleted the thread. Times are naive UTC.
    """

    thread_id: int
    posted_at: datetime
    kind: str  # 'came', 'left' the window, or 'stayed'
    score: float  # its stance, -1 to 1
    weight_from: float  # in the stance at each moment, 0 to 1
    weight_to: float
    effect: float  # what it moved, in units of the stance
    without: float  # by how much the change would be smaller without the thread, by recomputation
    coins: tuple[str, ...]
    general: str | None
    scorer: str  # which scorer answered
    source: str  # 'live' or 'warosu'
    subject: str | None
    text: str | None


@dataclass(frozen=True)
class Change:
    """The change of the stance between two moments; times are naive UTC.

    ``parts`` add up to it, and so does each view together with ``rest``.
    """

    start: datetime
    end: datetime
    stance_from: float
    stance_to: float
    model_from: str
    model_to: str
    named_from: datetime  # posts made after this are itemized; all earlier ones are one term
    unnamed_weight: float  # of those earlier ones in the stance at ``start``
    collected: float | None  # share of the hours between that were polled or archived; None: no time between
    came: Part
    left: Part
    reweighted: Part
    memory: Part
    filters: Part
    model: Part
    rest: float  # what no thread moved by itself: earlier posts, filters, model
    coins: tuple[Part, ...]  # views of the threads, the largest effect first
    generals: tuple[Part, ...]
    scorers: tuple[Part, ...]
    threads: tuple[MovedThread, ...]  # the most influential, by ``effect``

    @property
    def change(self) -> float:
        """By how much the market's stance moved."""
        return self.stance_to - self.stance_from

    @property
    def parts(self) -> tuple[Part, ...]:
        """The terms, which add up to the change of the market's stance."""
        return (self.came, self.left, self.reweighted, self.memory, self.filters, self.model)


def explain_change(
    database: Database,
    start: datetime,
    end: datetime,
    parameters: FearGreedSettings,
    excluded_generals: Sequence[str],
    prior: Callable[[duckdb.DuckDBPyConnection, str], Prior | None],
    *,
    as_of: datetime | None = None,
    most: int = 10,
) -> Change:
    """Explain what moved the market's stance from ``start`` to ``end`` (naive UTC), which are not in the future.

    Args:
        database: read twice, for the time of a few queries; nothing is computed meanwhile.
        start: the earlier moment.
        end: the later one.
        parameters: the index's settings.
        excluded_generals: whose posts do not count.
        prior: reads a model version's base rate, only where no state of the filters is stored; None: not known.
        as_of: only what was held here by this moment counts; None: all that is stored now.
        most: how many threads are named.

    Raises:
        ChangeNotExplained: there is no reading, posts that are needed were deleted, or ``as_of`` is before ``end``.
        DatabaseError: as :meth:`Database.read` does.
    """
    _check(start, end, as_of)
    first, last = to_us(start), to_us(end)
    with database.read() as connection:
        model_from, model_to = (model_at(connection, moment, as_of) for moment in (start, end))

        def load(model: str, until: int) -> StoredPosts:
            return load_change(connection, model, first, until, parameters, excluded_generals, prior, as_of)

        coverage = load_coverage(connection, first, last)
        stored = load(model_to, last)
        earlier = stored if model_from == model_to else load(model_from, first)
    before, after = _moments(stored, first, last, parameters)
    found = decompose(before, after)
    old = before if earlier is stored else _moments(earlier, first, first, parameters)[0]
    top = np.argsort(-np.abs(found.effect), kind="stable")[:most].tolist()
    threads = [int(found.thread_id[row]) for row in top]
    change = after.stance - before.stance
    exact = [change - _change_without(stored, first, last, parameters, thread) for thread in threads]
    with database.read() as connection:
        words = load_words(connection, threads)
    model_change, views = before.stance - old.stance, _views(stored, found)
    return Change(
        start=start,
        end=end,
        stance_from=old.stance,
        stance_to=after.stance,
        model_from=model_from,
        model_to=model_to,
        named_from=from_us(stored.begin - SETTLING_HOURS * HOUR),
        unnamed_weight=found.begin_weight,
        collected=_collected(coverage, as_of),
        **_terms(found, model_change),
        rest=found.rest + model_change,
        coins=views["coins"],
        generals=views["generals"],
        scorers=views["scorers"],
        threads=tuple(_thread(stored, found, row, one, words) for row, one in zip(top, exact, strict=True)),
    )


def _moments(
    stored: StoredPosts, start: int, end: int, parameters: FearGreedSettings, without: int | None = None
) -> tuple[Moment, Moment]:
    """The two moments, as they would be if there were no thread ``without``."""
    before, after = (
        posts if without is None else posts.part(posts.thread_id != without) for posts in (stored.before, stored.after)
    )
    return (
        moment_of(before, stored.level, stored.begin, start, parameters),
        moment_of(after, stored.level, stored.begin, end, parameters),
    )


def _collected(coverage: Coverage, as_of: datetime | None) -> float | None:
    if not len(coverage.covered):
        return None
    covered = coverage.covered if as_of is None else coverage.covered & (coverage.fetched_at <= to_us(as_of))
    return float(covered.mean())


def _change_without(stored: StoredPosts, start: int, end: int, parameters: FearGreedSettings, thread: int) -> float:
    before, after = _moments(stored, start, end, parameters, thread)
    return after.stance - before.stance


def _check(start: datetime, end: datetime, as_of: datetime | None) -> None:
    if start > end:
        raise ChangeNotExplained(f"{start:%Y-%m-%d %H:%M} is after {end:%Y-%m-%d %H:%M}: give the earlier moment first")
    if end - start > MAX_SPAN:
        raise ChangeNotExplained(f"more than {MAX_SPAN.days} days lie between the two moments: choose nearer ones")
    if as_of is not None and as_of < end:
        raise ChangeNotExplained(f"as of {as_of:%Y-%m-%d %H:%M} nothing of {end:%Y-%m-%d %H:%M} was known")


def _terms(found: Contributions, model_change: float) -> dict[str, Part]:
    return {
        "came": _part("came", found.came),
        "left": _part("left", found.left),
        "reweighted": _part("reweighted", found.reweighted),
        "memory": _part("memory", found.memory, found.begin),
        "filters": Part("filters", found.mixture, 0),
        "model": Part("model", model_change, 0),
    }


def _part(name: str, effects: Floats, more: float = 0.0) -> Part:
    return Part(name, float(effects.sum()) + more, int(np.count_nonzero(effects)))


def _views(stored: StoredPosts, found: Contributions) -> dict[str, tuple[Part, ...]]:
    """Sum the threads' effects by coin, general and scorer; a thread's effect is divided equally among its coins."""
    effects = dict(zip(found.thread_id.tolist(), found.effect.tolist(), strict=True))
    coins: list[list[str]] = [[] for _ in stored.generals]
    for post, coin in zip(stored.mentions.post.tolist(), stored.mentions.coin.tolist(), strict=True):
        coins[post].append(stored.mentions.symbols[coin])
    sums: dict[str, dict[str, list[float]]] = {"coins": {}, "generals": {}, "scorers": {}}
    for thread, named, general, scorer in zip(
        stored.after.thread_id.tolist(), coins, stored.generals, stored.scorers, strict=True
    ):
        if (effect := effects.get(thread)) is None:
            continue  # before the filters' begin
        for coin in named or [NO_COIN]:
            sums["coins"].setdefault(coin, []).append(effect / max(len(named), 1))
        sums["generals"].setdefault(f"/{general}/" if general else NO_GENERAL, []).append(effect)
        sums["scorers"].setdefault(scorer, []).append(effect)
    return {
        view: tuple(
            sorted(
                (Part(name, float(np.sum(each)), len(each)) for name, each in named.items()),
                key=lambda part: -abs(part.effect),
            )
        )
        for view, named in sums.items()
    }


def _thread(
    stored: StoredPosts,
    found: Contributions,
    row: int,
    without: float,
    words: dict[int, ThreadWords],
) -> MovedThread:
    thread = int(found.thread_id[row])
    place = int(np.flatnonzero(stored.after.thread_id == thread)[0])
    named = stored.mentions.coin[stored.mentions.post == place].tolist()
    said = words.get(thread, ThreadWords(None, None, ""))
    return MovedThread(
        thread_id=thread,
        posted_at=from_us(found.posted_at[row]),
        kind="came" if found.new[row] else "left" if found.gone[row] else "stayed",
        score=float(found.score[row]),
        weight_from=float(found.weight_before[row]),
        weight_to=float(found.weight_after[row]),
        effect=float(found.effect[row]),
        without=without,
        coins=tuple(stored.mentions.symbols[coin] for coin in named),
        general=stored.generals[place] or None,
        scorer=stored.scorers[place],
        source=said.source,
        subject=said.subject,
        text=said.text,
    )
