"""Rows of the pod ledger, as frozen dataclasses."""

from dataclasses import dataclass, fields
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.money import in_usd
from bizcharts_pipeline.pods.protocol import State

JOB_QUERY = "SELECT id, key, name, provider, run_id, started_at, ended_at, outcome, result FROM jobs"
POD_QUERY = """
SELECT p.id, p.job, j.key, j.name, j.provider, j.run_id, p.pod_id, p.state, p.gpu, p.machine, p.usd_per_hour,
       p.nano_usd, p.created_at, p.deadline, p.ended_at, p.root, p.launched, p.ordered_at, p.seen_at, p.told_at,
       p.missing_since, p.absences
FROM pods AS p JOIN jobs AS j ON j.id = p.job
"""


@dataclass(frozen=True)
class JobRow:
    """A job with its latest run."""

    id: int
    key: str
    name: str
    provider: str
    run_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    result: Path | None  # path of the verified result, valid only if that folder exists


@dataclass(frozen=True)
class PodRow:
    """A pod, or an order whose pod is not known (``pod_id`` is ``None``). Times are naive UTC."""

    id: int
    job: int
    key: str
    name: str
    provider: str
    run_id: str
    pod_id: str | None
    state: State
    gpu: str | None
    machine: str | None
    usd_per_hour: Decimal  # actual price if known, else the listed price
    usd: Decimal  # the maximum; once the pod has ended, the exact cost
    created_at: datetime
    deadline: datetime
    ended_at: datetime | None
    root: str | None
    launched: bool
    ordered_at: datetime | None  # when the last order was sent; None if there was none
    seen_at: datetime | None  # when the control plane first listed the pod after its creation
    told_at: datetime | None  # when the control plane accepted the termination request
    missing_since: datetime | None  # since when it is not listed; None if the last poll listed it
    absences: int  # consecutive polls without the pod that count as evidence (see `ending`)

    @property
    def seconds(self) -> float:
        """The pod's lifetime; for a live pod, its maximum lifetime."""
        return ((self.ended_at or self.deadline) - self.created_at).total_seconds()


@dataclass(frozen=True)
class Event:
    """An event of a job."""

    at: datetime
    state: State
    detail: str
    pod: int | None  # row id of the pod


def job_row(row: tuple[Any, ...]) -> JobRow:
    """Convert a row of the pod ledger's ``JOB_QUERY``."""
    identity, key, name, provider, run_id, started_at, ended_at, outcome, result = row
    return JobRow(
        identity,
        key,
        name,
        provider,
        run_id,
        datetime.fromisoformat(started_at),
        _time(ended_at),
        outcome,
        Path(result) if result else None,
    )


def pod_row(row: tuple[Any, ...]) -> PodRow:
    """Convert a row of the pod ledger's ``POD_QUERY``."""
    values = dict(zip(_POD_NAMES, row, strict=True))
    times = ("ended_at", "ordered_at", "seen_at", "told_at", "missing_since")
    return PodRow(
        **values
        | {
            "state": State(values["state"]),
            "usd_per_hour": Decimal(values["usd_per_hour"]),
            "usd": in_usd(values["usd"]),
            "created_at": datetime.fromisoformat(values["created_at"]),
            "deadline": datetime.fromisoformat(values["deadline"]),
            "launched": bool(values["launched"]),
            **{name: _time(values[name]) for name in times},
        }
    )


_POD_NAMES = tuple(field.name for field in fields(PodRow))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def as_text(moment: datetime) -> str:
    """Return a time in the pod ledger's format, ISO 8601 with microseconds, so that text order equals time order."""
    return moment.isoformat(timespec="microseconds")
