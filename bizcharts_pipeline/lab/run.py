"""``bizcharts backtest``: reads the series, runs every test, records the trials, stores the report and its page."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.lab.errors import require_packages
from bizcharts_pipeline.lab.inputs import INDEX, PLACEBO, REFERENCE, read_pairs
from bizcharts_pipeline.lab.page import report_page
from bizcharts_pipeline.lab.report import SCHEMA, Part, Report, part_of, report_path, to_json
from bizcharts_pipeline.lab.series import Pair
from bizcharts_pipeline.lab.sharpe import deflated_sharpe, sharpe_ratio
from bizcharts_pipeline.lab.strategies import COST, Comparison, Traded, a_year, performance, trade
from bizcharts_pipeline.lab.study import Study, Unstudied, study
from bizcharts_pipeline.lab.trials import LEDGER, Trial, TrialLedger
from bizcharts_pipeline.warehouse.database import Database

SEED = 20261128


@dataclass(frozen=True)
class _Done:
    """The study of a pair, and what its trading rules did."""

    pair: Pair
    study: Study
    traded: tuple[Traded, ...]


def backtest(
    database: Database,
    home: Path,
    coins: Sequence[str],
    now: datetime,
    as_of: datetime | None = None,
    seed: int = SEED,
) -> Report:
    """Make the report of the backtest on what was computed and knowable at ``as_of`` (naive UTC; ``None``: by now),
    and store it.

    ``coins`` are the symbols whose moods are studied too. The trials of the run are recorded first.

    Raises:
        LabMissing: the packages of the lab are not installed.
        LabError: the trial ledger cannot be used.
        DatabaseError: the database cannot be read.
        OSError: the files cannot be written.
    """
    require_packages()
    with database.read() as connection:
        pairs = read_pairs(connection, coins, now, as_of)
    report = make_report(pairs, TrialLedger(home / LEDGER), now, as_of, seed)
    path = report_path(home, as_of)
    write_atomically(path.with_suffix(".html"), report_page(report).encode())
    write_atomically(path, to_json(report))
    return report


def make_report(
    pairs: Sequence[Pair], ledger: TrialLedger, now: datetime, as_of: datetime | None = None, seed: int = SEED
) -> Report:
    """Run every test of the backtest on ``pairs``, record the trials in ``ledger``, and return the report."""
    done: dict[str, list[_Done]] = {INDEX: [], REFERENCE: [], PLACEBO: []}
    undone: dict[str, list[Unstudied]] = {INDEX: [], REFERENCE: [], PLACEBO: []}
    for pair in pairs:
        source = pair.name if pair.name in (REFERENCE, PLACEBO) else INDEX
        found = study(pair, seed=seed)
        if isinstance(found, Unstudied):
            undone[source].append(found)
        else:
            done[source].append(_Done(pair, *found))
    trials = [
        Trial(_configuration(each, traded, as_of), sharpe_ratio(traded.returns), traded.returns.size)
        for each in (each for part in done.values() for each in part)
        for traded in each.traded
    ]
    ledger.record(trials, now)
    ever = ledger.sharpes()
    shown = [source for source in done if source == INDEX or done[source] or undone[source]]
    parts = tuple(_part(source, done[source], undone[source], ever, seed) for source in shown)
    return Report(SCHEMA, now, as_of, seed, parts)


def _part(source: str, done: Sequence[_Done], undone: Sequence[Unstudied], ever: Sequence[float], seed: int) -> Part:
    comparisons = [_comparison(each, ever) for each in done if each.traded]
    pairs, studies = [each.pair for each in done], [each.study for each in done]
    return part_of(source, pairs, studies, undone, next(iter(comparisons), None), seed)


def _comparison(done: _Done, ever: Sequence[float]) -> Comparison:
    hold, _ = trade(done.pair.mood, done.pair.returns)
    assert done.study.superior_p is not None
    rules = [performance(each, deflated_sharpe(each.returns, ever)) for each in done.traded]
    return Comparison(hold.size, done.study.superior_p, len(ever), *a_year(hold), tuple(rules))


def _configuration(done: _Done, traded: Traded, as_of: datetime | None) -> str:
    """Everything that makes a trial another one than another, as JSON."""
    rule = traded.rule
    return json.dumps(
        {
            "rule": rule.name,
            "words": rule.words,
            "mood": done.pair.name,
            "price": done.pair.price,
            "cost": COST,
            "as_of": as_of and as_of.isoformat(),
        },
        sort_keys=True,
    )
