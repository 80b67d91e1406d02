"""Events of the operation: stale data, failed runs, left-over pods, spent budgets, stale models, due trainings."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

from bizcharts_pipeline.alerts.events import Event, utc
from bizcharts_pipeline.models.retraining import Retraining
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.settings import AlertSettings
from bizcharts_pipeline.warehouse.drift_reports import DriftRow

STALE, RUN, POD, BUDGET, DRIFT, RETRAIN = "stale", "run", "pod", "budget", "drift", "retrain"
POLLS, READINGS = "polls", "readings"


@dataclass(frozen=True)
class FailedRun:
    """A run of Dagster that failed and is not started again. ``ended_at`` is naive UTC."""

    run_id: str
    job: str
    ended_at: datetime


@dataclass(frozen=True)
class Spending:
    """What a month has cost in USD, reservations included, and its limit."""

    name: str
    section: str  # of the settings
    month: str  # '2026-11', UTC
    usd: Decimal
    limit: Decimal


def stale_data(
    polled: datetime | None,
    reading: datetime | None,
    last: "dict[str, datetime]",
    settings: AlertSettings,
    now: datetime,
) -> list[Event]:
    """Return an event if there was no poll, or else no new value of the index, for too long; and one when either comes
    again after such an event.

    Args:
        polled: the last poll; ``None``: there was none yet, which is no event.
        reading: the end of the last hour with a value, likewise.
        last: when the last event about either was.
    """
    if polled is not None and now >= (at := polled + timedelta(minutes=settings.poll_minutes)):
        title = "BizCharts: the board was not polled"
        lines = (f"Last poll: {utc(polled)}", "See `bizcharts health` and the runs of the job `live`.")
        return _after_pause(Event(STALE, POLLS, polled.isoformat(), title, lines, at), last, settings, now)
    events = _come_again(POLLS, polled, "BizCharts: the board is polled again", last, now)
    if reading is not None and now >= (at := reading + timedelta(hours=settings.reading_hours)):
        title = "BizCharts: no new value of the index"
        lines = (f"Last hour with a value: until {utc(reading)}", "`bizcharts index --hours 24` says why.")
        event = Event(STALE, READINGS, reading.isoformat(), title, lines, at)
        return events + _after_pause(event, last, settings, now)
    return events + _come_again(READINGS, reading, "BizCharts: the index has values again", last, now)


def _after_pause(event: Event, last: "dict[str, datetime]", settings: AlertSettings, now: datetime) -> list[Event]:
    pause = timedelta(hours=settings.stale_pause_hours)
    return [] if event.subject in last and now - last[event.subject] < pause else [event]


def _come_again(
    subject: str, newest: datetime | None, title: str, last: "dict[str, datetime]", now: datetime
) -> list[Event]:
    """Return the event that what was missing is there again, if the last event was that it is missing."""
    missed, again = last.get(subject), f"{subject} again"
    if missed is None or newest is None or (again in last and last[again] >= missed):
        return []
    lines = (f"Newest: {utc(newest)}", f"A message said that it was missing, at {utc(missed)}.")
    return [Event(STALE, again, missed.isoformat(), title, lines, now)]


def failed_runs(runs: Iterable[FailedRun]) -> list[Event]:
    """Return an event for each failed run. The reason is in the Dagster UI: it may hold text of strangers."""
    return [
        Event(
            RUN,
            run.job,
            run.run_id,
            f"BizCharts: a run of {run.job} failed",
            (f"Run {run.run_id} ended at {utc(run.ended_at)}.", "The Dagster UI has its log."),
            run.ended_at,
        )
        for run in runs
    ]


def outliving_pods(
    pods: Sequence[PodRow], ended: Callable[[str], datetime | None], settings: AlertSettings, now: datetime
) -> list[Event]:
    """Return an event for each pod that exists too long after the end of its run, or of its time limit.

    Args:
        pods: the pods whose end is not proven.
        ended: when a run ended; ``None`` while it runs.
    """
    events = []
    for pod in pods:
        over = ended(pod.run_id)
        since = max(pod.deadline if over is None else min(over, pod.deadline), pod.created_at)
        at = since + timedelta(minutes=settings.pod_minutes)
        if pod.pod_id is None or now < at:
            continue
        lines = (
            f"Pod {pod.pod_id} ({pod.provider}), {pod.usd_per_hour:.3f} USD an hour, since {utc(pod.created_at)}",
            f"Run {pod.run_id} or its time limit ended at {utc(since)}.",
            "`bizcharts pods list` shows it, `bizcharts pods reap` terminates it.",
        )
        title = "BizCharts: a rented pod still exists after its run"
        events.append(Event(POD, pod.provider, f"{pod.id}|{pod.pod_id}", title, lines, at))
    return events


def budgets(spendings: Iterable[Spending], settings: AlertSettings, now: datetime) -> list[Event]:
    """Return an event for each monthly limit of which ``budget_share`` is spent or reserved. A changed limit makes
    another event.
    """
    return [
        Event(
            BUDGET,
            one.name,
            f"{one.month}|{one.limit.normalize():f}",
            f"BizCharts: the budget of {one.name} is nearly spent",
            (
                f"{one.month} (UTC): {_usd(one.usd)} of {_usd(one.limit)} USD are spent or reserved.",
                f"The limit is usd_per_month of [{one.section}].",
            ),
            now,
        )
        for one in spendings
        if one.limit > 0 and one.usd >= one.limit * Decimal(repr(settings.budget_share))
    ]


def _usd(amount: Decimal) -> str:
    return f"{amount:.2f}" if amount >= 1 else f"{amount:.4f}"


def stale_model(alarm: DriftRow | None) -> list[Event]:
    """Return an event for a standing drift alarm, one for each model and first day. ``alarm``: the newest verdict."""
    if alarm is None:
        return []
    since = str(alarm.details["since"])
    lines = (
        f"Drift alarm since {since}, raised by {', '.join(alarm.details['by'])}.",
        "The page Models of the app has the measures, docs/operating.md what to do.",
    )
    title = "BizCharts: the model may have gone stale"
    return [Event(DRIFT, alarm.model_version, since, title, lines, alarm.computed_at)]


def due_trainings(found: Iterable[Retraining], now: datetime) -> list[Event]:
    """Return an event for each training that is due, one for each model that is the newest by then."""
    return [
        Event(RETRAIN, one.track, one.newest, "BizCharts: another training is worth it", one.sentences, now)
        for one in found
        if one.due
    ]
