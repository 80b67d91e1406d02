"""The report of a backtest: its rows, its answers in words, and its form as JSON."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.lab.errors import LabError
from bizcharts_pipeline.lab.inputs import INDEX, PLACEBO, REFERENCE
from bizcharts_pipeline.lab.power import detectable_r2
from bizcharts_pipeline.lab.series import Pair
from bizcharts_pipeline.lab.strategies import Comparison
from bizcharts_pipeline.lab.study import MIN_DAYS, Study, Tested, Unstudied, forward_family, reverse_family
from bizcharts_pipeline.warehouse.previews import Preview

if TYPE_CHECKING:
    from pydantic import TypeAdapter

SCHEMA = 1  # grows when a field is renamed, removed or means something else
FOLDER = "lab"  # below the home
YES, NO, TOO_FEW = "yes", "no", "too few days"
QUESTION = "Does the index say anything about the next days' price?"
PREVIEWED = 20  # tests of each part
DISCLAIMER = "A research tool, not financial advice: what held in the past implies nothing about future returns."


@dataclass(frozen=True)
class Part:
    """The studies of one source of moods, and its two families of tests, adjusted for their own number."""

    source: str  # 'index' (with the coins' moods), 'reference' or 'placebo'
    title: str
    answer: str  # 'yes', 'no' or 'too few days': does it say anything about following prices?
    sentences: tuple[str, ...]  # the answer in words
    detectable_r2: float | None  # of a day's returns, found in 80 % of simulations of the first study; None: none was
    studies: tuple[Study, ...]
    unstudied: tuple[Unstudied, ...]
    comparison: Comparison | None  # of trading rules
    forward: tuple[Tested, ...]  # from mood to following prices, smallest p-values first
    reverse: tuple[Tested, ...]  # from price to following moods

    @property
    def heading(self) -> str:
        """The title of the backtest's report as a heading."""
        return self.title[:1].upper() + self.title[1:]


@dataclass(frozen=True)
class Report:
    """The result of one run. Times are naive UTC; returns are logarithmic, shares from 0 to 1."""

    schema: int
    made_at: datetime
    as_of: datetime | None  # None: what was known when it was made
    seed: int
    parts: tuple[Part, ...]  # the index first

    @property
    def first_lines(self) -> tuple[str, ...]:
        """The backtest's question, and the answer in words."""
        return (f"{QUESTION} {_spoken(self.parts[0].answer)}.", *self.parts[0].sentences)

    def part(self, source: str) -> Part | None:
        """Return the part of the backtest's report about ``source``, if there is one."""
        return next((part for part in self.parts if part.source == source), None)

    @property
    def figures(self) -> dict[str, int | float]:
        """The numbers of a backtest that are worth following from run to run."""
        index = self.parts[0]
        smallest = index.forward[0].adjusted_p if index.forward else None
        return {
            "days": max((study.days for study in index.studies), default=0),
            "tests that count": len(index.forward),
            "tests that hold": sum(test.found for test in index.forward),
            **({} if smallest is None else {"smallest adjusted p": smallest}),
            "trials ever run": index.comparison.trials if index.comparison else 0,
        }

    def __str__(self) -> str:
        others = (f"{part.heading}: {' '.join(part.sentences)}" for part in self.parts[1:])
        return "\n".join([*self.first_lines, *others, DISCLAIMER])


def as_preview(report: Report) -> Preview:
    """Return the tests of each part of the backtest with the smallest p-values."""
    rows: list[tuple[object, ...]] = [
        (test.series, test.price, test.what, probability(test.p), probability(test.adjusted_p), test.found)
        for part in report.parts
        for test in part.forward[:PREVIEWED]
    ]
    return Preview(["mood", "price", "test", "p", "adjusted p", "holds"], rows)


TITLES = {INDEX: "the index", REFERENCE: "alternative.me's index", PLACEBO: "the placebo (/smg/, stocks)"}


def part_of(
    source: str,
    pairs: Sequence[Pair],
    studies: Sequence[Study],
    unstudied: Sequence[Unstudied],
    comparison: Comparison | None,
    seed: int,
) -> Part:
    """Return the part of the backtest's report about a source: its tests adjusted together, and the answer in words.
    ``pairs`` are the studied ones."""
    forward, reverse = forward_family(studies), reverse_family(studies)
    found = [test for test in forward if test.found]
    answer = TOO_FEW if not studies else YES if found else NO
    smallest = detectable_r2(pairs[0], len(forward), seed) if pairs else None
    sentences = _sentences(studies, unstudied, forward, reverse, smallest)
    return Part(
        source,
        TITLES[source],
        answer,
        sentences,
        smallest,
        tuple(studies),
        tuple(unstudied),
        comparison,
        forward,
        reverse,
    )


def _sentences(
    studies: Sequence[Study],
    unstudied: Sequence[Unstudied],
    forward: Sequence[Tested],
    reverse: Sequence[Tested],
    smallest: float | None,
) -> tuple[str, ...]:
    if not studies:
        most = max((each.days for each in unstudied), default=0)
        return (f"{counted(most, 'day')} with a mood and a price; it takes {MIN_DAYS}.",)
    first = studies[0]
    found = sum(test.found for test in forward)
    best = forward[0]
    holds = "hold" if found > 1 else "holds"
    said = [
        f"{found or 'None'} of {counted(len(forward), 'test')} {holds} after adjustment for their number; "
        f"the strongest: {best.series} and {best.price}, {best.what}, adjusted p {probability(best.adjusted_p)}."
    ]
    if first.effect:
        effect = first.effect
        of = "a rise of the mood" if effect.of_change else "a mood higher"
        said.append(
            f"After {of} by one standard deviation, the price of {first.price} changed by {percent(effect.estimate)} "
            f"over the next {effect.days} days, compared with its mean (95 % interval {percent(effect.lo)} to "
            f"{percent(effect.hi)}); {first.first_day} to {first.last_day}, {counted(first.days, 'day')}."
        )
    said.append(
        "In simulations with this many days and tests, "
        + (
            "not even the largest lead that was tried was found with a probability of 80 %."
            if smallest is None
            else f"a lead of 1 to 3 days that explains {100 * smallest:.0f} % of the daily variance was found with a "
            "probability of 80 %; less than that can be there unseen."
        )
    )
    leads = next((test for test in reverse if test.series == first.name and "joint" in test.what), None)
    if leads:
        verb = "does" if leads.found else "does not"
        said.append(f"The other way round, the price {verb} lead the mood: adjusted p {probability(leads.adjusted_p)}.")
    return tuple(said)


def probability(p: float) -> str:
    """Return a p-value as the backtest's report writes it."""
    return "below 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def percent(log_return: float) -> str:
    """Return a log return as the backtest's report writes it, in per cent with its sign."""
    return f"{100 * log_return:+.2f} %"


def _spoken(answer: str) -> str:
    return {YES: "Yes", NO: "No", TOO_FEW: "It cannot be said yet"}[answer]


def report_path(home: Path, as_of: datetime | None = None) -> Path:
    """Return where a backtest's report is stored as JSON; its page lies beside it, with the ending ``.html``."""
    moment = "" if as_of is None else f"-{as_of:%Y%m%dT%H%M%S}"
    return home / FOLDER / f"backtest{moment}.json"


def to_json(report: Report) -> bytes:
    """Return a backtest's report as JSON."""
    return _adapter().dump_json(report, indent=1) + b"\n"


def stored_report(home: Path, as_of: datetime | None = None) -> Report | None:
    """Return the stored report of the backtest of the present, or as of a moment (naive UTC); ``None``: there is none.

    Raises:
        LabError: it cannot be read, or was written by another version.
    """
    from pydantic import ValidationError

    path = report_path(home, as_of)
    try:
        return _adapter().validate_json(read_regular(path))
    except FileNotFoundError:
        return None
    except (OSError, ValidationError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it has another form"
        raise LabError(f"{path} cannot be read ({reason}); `bizcharts backtest` writes it anew.") from None


@cache
def _adapter() -> "TypeAdapter[Report]":
    from pydantic import TypeAdapter

    return TypeAdapter(Report)
