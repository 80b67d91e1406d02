"""Makes the reports of the last days and stores them; a day that has a report keeps it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.clock import DAY, midnight
from bizcharts_pipeline.drift.alarm import (
    DAYS_RUNNING,
    FROZEN_DAYS,
    Standing,
    Verdict,
    reference_end,
    standing,
    verdict,
)
from bizcharts_pipeline.drift.assess import Evidence, assess
from bizcharts_pipeline.drift.labelled import LABELLED_DAYS, LabelledPost
from bizcharts_pipeline.drift.measured import Measured
from bizcharts_pipeline.drift.mix import LAGS
from bizcharts_pipeline.drift.panel import build_panel
from bizcharts_pipeline.drift.texts import Texts
from bizcharts_pipeline.drift.windows import HISTORY_DAYS
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.labels.stances import RATINGS
from bizcharts_pipeline.labels.trust import majority
from bizcharts_pipeline.models.evaluate import HONEST_LEXICON
from bizcharts_pipeline.prices.returns import day_grid, log_returns
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow, append_report, reports_since
from bizcharts_pipeline.warehouse.model_evaluations import evaluation_rows
from bizcharts_pipeline.warehouse.model_releases import figures_on_gold
from bizcharts_pipeline.warehouse.models import ModelVersion, champion, learned_at
from bizcharts_pipeline.warehouse.prices import midnight_prices
from bizcharts_pipeline.warehouse.scores import scored_texts, scores_of
from bizcharts_pipeline.warehouse.values import literal

MARKET = "BTC"
MAX_POSTS_A_DAY = 300  # drawn at random from a busier day: bounds memory and time
RANDOM = "random"  # the stratum of labels that is drawn from all posts


@dataclass(frozen=True)
class DriftReport:
    """The newest report; no rows before a model scores posts."""

    day: date  # UTC
    model_version: str | None
    rows: tuple[DriftRow, ...]
    made: int  # days that had no report before


def report_drift(database: Database, home: Path, now: datetime, *, spam_cut: float) -> DriftReport:
    """Make and store the drift reports of the last three whole days that have none; return the newest.

    The three days make up for missed runs: an alarm needs three days running. ``now`` is naive UTC; ``spam_cut`` is the
    index's.

    Raises:
        LedgerError: the label ledger cannot be read.
        DatabaseError: the database cannot be read or written.
    """
    last = (now - DAY).date()
    wanted = [last - timedelta(days=back) for back in reversed(range(DAYS_RUNNING))]
    with database.read() as connection:
        model = champion(connection)
        if model is None:
            return DriftReport(last, None, (), 0)
        stored = reports_since(connection, model.model_version, wanted[0] - DAYS_RUNNING * DAY)
    missing = [day for day in wanted if day not in stored]
    if missing:
        evidence = read_evidence(database, home, model, last, spam_cut)
        made: list[DriftRow] = []
        for day in missing:
            stored[day] = _report(evidence, model.model_version, day, stored, now, with_slang=day == last)
            made += stored[day]
        with database.write() as connection:
            append_report(connection, made)
    return DriftReport(last, model.model_version, tuple(stored[last]), len(missing))


def read_evidence(database: Database, home: Path, model: ModelVersion, last: date, spam_cut: float) -> Evidence:
    """Load the scored posts, prices and labels from which drift is measured for the days up to ``last``, included.

    Posts whose spam score is ``spam_cut`` or higher are left out. The ledger of labels is in ``home``.
    """
    first = last - timedelta(days=HISTORY_DAYS + FROZEN_DAYS + DAYS_RUNNING)
    days = (last - first).days + 1
    start, end = midnight(first), midnight(last) + DAY
    ledger = LabelLedger(home / LEDGER)
    with database.read() as connection:
        posts = scored_texts(
            connection,
            model.model_version,
            start,
            end,
            most_a_day=MAX_POSTS_A_DAY,
            spam_cut=spam_cut,
            excluded_generals=sorted(NON_CRYPTO_GENERALS),
        )
        closes = midnight_prices(connection, MARKET, first - (LAGS + 1) * DAY, last)
        learnt = None if model.shipped else learned_at(connection).get(model.model_version)
        if model.shipped:
            judged = evaluation_rows(
                connection, f"model_version = {literal(HONEST_LEXICON)} ORDER BY evaluated_at DESC LIMIT 1"
            )
        else:
            judged = list(figures_on_gold(connection, model)[:1])
    truth = random_labels(ledger, learnt)
    with database.read() as connection:
        said = scores_of(connection, model.model_version, truth, end - (LABELLED_DAYS + DAYS_RUNNING) * DAY, end)
    return Evidence(
        texts=Texts(build_panel(posts, first, days)),
        returns=log_returns(closes, day_grid(first - LAGS * DAY, last)),
        labelled=[
            LabelledPost((at.date() - first).days, truth[thread], max(range(3), key=probabilities.__getitem__))
            for thread, (at, probabilities) in said.items()
        ],
        confusion=judged[0].confusion if judged else None,
    )


def random_labels(ledger: LabelLedger, learnt: datetime | None) -> dict[int, int]:
    """Return, to measure drift on labels, the class, 0 to 2, that most people gave to each post of the random stream.

    Posts that were first labelled by ``learnt`` may have taught the model and are left out; so are posts with a flag,
    and labels that were given with a suggestion in sight.
    """
    standing_labels = ledger.standing()
    drawn = {label.thread_id for label in standing_labels if label.stratum == RANDOM}
    drawn -= {label.thread_id for label in standing_labels if label.flag}
    if learnt is not None:
        drawn -= {label.thread_id for label in standing_labels if label.labeled_at <= learnt}
    given = [label for label in ledger.newest() if label.thread_id in drawn and label.suggestion is None]
    return {thread: RATINGS[stance] - 1 for thread, stance in majority(given).items()}


def _report(
    evidence: Evidence,
    model_version: str,
    day: date,
    stored: dict[date, list[DriftRow]],
    now: datetime,
    *,
    with_slang: bool,
) -> list[DriftRow]:
    """Return the rows of a day, given the reports of the days before."""
    place = (day - evidence.panel.first).days
    stands = _standing(stored.get(day - DAY, []), evidence.panel.first)
    found = assess(evidence, place + 1, reference_end(place, stands), with_slang=with_slang)
    before = [
        {row.measure: row.alarm for row in stored.get(day - back * DAY, [])}
        for back in reversed(range(1, DAYS_RUNNING))
    ]
    judged = verdict(found, before)
    return [
        *(_row(each, day, model_version, now) for each in found),
        _verdict_row(judged, standing(place, judged, stands), evidence.panel.first, day, model_version, now, found),
    ]


def _standing(rows: Sequence[DriftRow], first: date) -> Standing | None:
    """Return the alarm that stood on the day of ``rows``, in days from ``first`` on."""
    for row in rows:
        if row.measure == VERDICT and row.alarm:
            since, raised = (date.fromisoformat(row.details[name]) for name in ("since", "raised"))
            return Standing((since - first).days, (raised - first).days, tuple(row.details["by"]))
    return None


def _row(found: Measured, day: date, model_version: str, now: datetime) -> DriftRow:
    return DriftRow(
        day=day,
        model_version=model_version,
        measure=found.measure,
        value=found.value,
        lo=found.lo,
        hi=found.hi,
        reference=found.reference,
        threshold=found.threshold,
        alarm=found.exceeded,
        n=found.n,
        details=found.details,
        computed_at=now,
    )


def _verdict_row(
    judged: Verdict,
    stands: Standing | None,
    first: date,
    day: date,
    model_version: str,
    now: datetime,
    found: Sequence[Measured],
) -> DriftRow:
    since, raised = (
        ((first + timedelta(days=place)).isoformat() for place in (stands.since, stands.raised))
        if stands
        else (None, None)
    )
    return DriftRow(
        day=day,
        model_version=model_version,
        measure=VERDICT,
        value=float(sum(each.exceeded for each in found)),
        lo=None,
        hi=None,
        reference=None,
        threshold=None,
        alarm=stands is not None,
        n=max((each.n for each in found), default=0),
        details={
            "by": list(stands.by) if stands else [],
            "running": list(judged.running),
            "since": since,
            "raised": raised,
            "false_alarms_a_month": judged.false_alarms_a_month,
        },
        computed_at=now,
    )
