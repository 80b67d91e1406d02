"""The reaper: pods that nobody works with any more are ended, ours alone; a pod of another name is never touched.

A pod is an orphan if no live run holds its job, or if its time is over. It needs neither the process that rented it
nor its run: the names at the control plane and the ledger say all there is to know.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.pods import kept, keys
from bizcharts_pipeline.pods.ending import end_named, end_pod
from bizcharts_pipeline.pods.errors import PodError
from bizcharts_pipeline.pods.ledger import PodLedger, PodRow
from bizcharts_pipeline.pods.lock import JobBusy, hold
from bizcharts_pipeline.pods.names import key_of
from bizcharts_pipeline.pods.protocol import Pod, Provider, State
from bizcharts_pipeline.settings import PodSettings

_NOT_LISTED = "not listed"


@dataclass(frozen=True)
class Listed:
    """A pod of ours: as the control plane lists it, as the ledger knows it, or both."""

    name: str
    pod_id: str | None  # None: it was asked for, and nobody knows what came of it
    status: str  # the control plane's word, or 'not listed'
    state: State | None  # the ledger's word; None: it knows nothing of it
    gpu: str | None
    usd_per_hour: Decimal | None
    created_at: datetime | None
    deadline: datetime | None
    run_id: str | None
    orphan: str | None  # why it is one; None: a live run works with it


@dataclass(frozen=True)
class ReapReport:
    """What became of the pods of ours, by their ids, or their names where there is no id."""

    ended: tuple[str, ...]
    running: tuple[str, ...]
    failed: tuple[str, ...]  # what went wrong; the next time they are tried again


def listing(
    provider: Provider, ledger: PodLedger, settings: PodSettings, now: datetime, is_running: Callable[[str], bool]
) -> list[Listed]:
    """Return every pod of ours that the control plane lists or that the ledger takes to be alive.

    Args:
        is_running: whether a run of this id lives, for runs that are not on this machine: who holds a job's lock here
            is alive anyway.

    Raises:
        PodError: the control plane does not say, or the ledger cannot be read.
    """
    jobs = _ours(provider, ledger, settings)
    return [listed for pods in jobs for listed in _list(ledger, pods, now, is_running)]


def reap(
    provider: Provider,
    ledger: PodLedger,
    settings: PodSettings,
    now: Callable[[], datetime],
    is_running: Callable[[str], bool],
) -> ReapReport:
    """End every orphan of ours; what fails with one keeps nobody from ending the others.

    Raises:
        PodError: the control plane does not say which pods there are, or the ledger cannot be read.
    """
    report = ReapReport((), (), ())
    for pods in _ours(provider, ledger, settings):
        try:
            folder = ledger.folder(pods.key)
            with hold(folder):  # no run begins this job meanwhile
                if kept.is_kept(folder, now(), timedelta(minutes=settings.lease_minutes)) and not pods.overdue(now()):
                    report = replace(report, running=report.running + pods.ids)
                    continue
                one = _reap_job(provider, ledger, pods, now, is_running)
        except JobBusy:
            one = _end_overdue(provider, pods, now())
        except (PodError, OSError) as error:
            one = ReapReport((), (), (f"{pods.key}: {error}",))
        report = ReapReport(report.ended + one.ended, report.running + one.running, report.failed + one.failed)
    return report


@dataclass(frozen=True)
class _Pods:
    """Of one job: what is listed, and what the ledger takes to be alive."""

    key: str
    name: str
    listed: tuple[Pod, ...] = ()
    rows: tuple[PodRow, ...] = ()

    @property
    def ids(self) -> tuple[str, ...]:
        known = {row.pod_id for row in self.rows if row.pod_id} | {pod.pod_id for pod in self.listed}
        return tuple(sorted(known)) or (self.name,)

    def overdue(self, now: datetime) -> tuple[PodRow, ...]:
        return tuple(row for row in self.rows if now >= row.deadline)


def _ours(provider: Provider, ledger: PodLedger, settings: PodSettings) -> list[_Pods]:
    """Return our pods by their job. What the ledger knows is ours, also where `name` was another then."""
    rows = ledger.live(provider.name)
    known = {row.name: row.key for row in rows}
    prefixes = {f"{settings.name}-"} | {name for name in known if key_of(settings.name, name) is None}
    jobs = {name: _Pods(key, name) for name, key in known.items()}
    for pod in (pod for prefix in sorted(prefixes) for pod in provider.find(prefix)):
        if key := key_of(settings.name, pod.name) or known.get(pod.name):
            before = jobs.get(pod.name, _Pods(key, pod.name))
            jobs[pod.name] = replace(before, listed=(*before.listed, pod))
    for row in rows:
        jobs[row.name] = replace(jobs[row.name], rows=(*jobs[row.name].rows, row))
    return list(jobs.values())


def _reap_job(
    provider: Provider,
    ledger: PodLedger,
    pods: _Pods,
    now: Callable[[], datetime],
    is_running: Callable[[str], bool],
) -> ReapReport:
    """End the pods of a job that no process on this machine works on."""
    if any(is_running(row.run_id) for row in pods.rows) and not pods.overdue(now()):
        return ReapReport((), pods.ids, ())
    troubles = end_named(provider, ledger, pods.key, pods.name, now)
    if not troubles:
        keys.remove_keys(ledger.folder(pods.key) / "keys")
    return ReapReport((), (), tuple(troubles)) if troubles else ReapReport(pods.ids, (), ())


def _end_overdue(provider: Provider, pods: _Pods, now: datetime) -> ReapReport:
    """End those pods of a live run whose time is over; the run notices, and keeps its own books."""
    ids = [row.pod_id for row in pods.overdue(now) if row.pod_id is not None]
    troubles = {pod_id: end_pod(provider, pod_id) for pod_id in ids}
    return ReapReport(
        tuple(pod_id for pod_id, trouble in troubles.items() if trouble is None),
        tuple(pod_id for pod_id in pods.ids if pod_id not in troubles),
        tuple(trouble for trouble in troubles.values() if trouble is not None),
    )


def _list(ledger: PodLedger, pods: _Pods, now: datetime, is_running: Callable[[str], bool]) -> Iterator[Listed]:
    busy = _is_held(ledger.folder(pods.key))
    by_id = {pod.pod_id: pod for pod in pods.listed}
    for row in pods.rows:
        pod = by_id.pop(row.pod_id or "", None)
        orphan = None
        if now >= row.deadline:
            orphan = "its time is over"
        elif not busy and not is_running(row.run_id):
            orphan = "no run works with it"
        status = str(pod.status) if pod else _NOT_LISTED
        yield Listed(
            pods.name,
            row.pod_id,
            status,
            row.state,
            row.gpu,
            row.usd_per_hour,
            row.created_at,
            row.deadline,
            row.run_id,
            orphan,
        )
    for pod in by_id.values():
        why = None if busy else "the ledger does not know it"
        yield Listed(pods.name, pod.pod_id, str(pod.status), None, pod.gpu, pod.usd_per_hour, None, None, None, why)


def _is_held(folder: Path) -> bool:
    if not folder.exists():
        return False
    try:
        with hold(folder):
            return False
    except JobBusy:
        return True
