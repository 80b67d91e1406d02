"""The reaper: terminates this installation's pods without a run; a pod with another name is never touched.

A pod is an orphan if no live run holds its job, if its time limit is reached, or if the job's run uses another pod. The
reaper needs neither the process that rented the pod nor its run, only the names at the control plane and the ledger. A
pod that appears after its job has ended is found by its name.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.pods import kept, keys
from bizcharts_pipeline.pods.ending import Unproven, request_termination, terminate_named
from bizcharts_pipeline.pods.errors import OutOfTime, PodError
from bizcharts_pipeline.pods.identity import installation_id
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.lock import JobBusy, hold
from bizcharts_pipeline.pods.names import is_made_here, key_of
from bizcharts_pipeline.pods.protocol import Pod, PodStatus, Provider, State
from bizcharts_pipeline.pods.sightings import POLL_PAUSE, POLLS
from bizcharts_pipeline.settings import PodSettings

NOT_LISTED = "not listed"
_REMEMBERED = timedelta(days=7)  # how long pods of a closed job are searched for under an earlier prefix
_ROUNDS = POLLS + 2  # of termination requests and polls
_GRACE_LAGS = 2  # times `lag_seconds`: for this long, a pod without a row may have just been ordered by a run


@dataclass(frozen=True)
class Listed:
    """A pod of this installation: in the control plane's list, in the ledger, or both."""

    name: str
    pod_id: str | None  # None: it was ordered, and the outcome is unknown
    status: str  # according to the control plane, or 'not listed', or 'not asked'
    state: State | None  # according to the ledger; None: unknown to it
    gpu: str | None
    usd_per_hour: Decimal | None
    created_at: datetime | None
    deadline: datetime | None
    run_id: str | None
    orphan: str | None  # why it is one; None: a live run uses it, or it is kept
    provider: str
    kept_until: datetime | None = None  # until when its paid result is kept for a restart of the job


@dataclass(frozen=True)
class ReapReport:
    """Outcome by pod id, or by name without an id."""

    ended: tuple[str, ...]
    running: tuple[str, ...]
    failed: tuple[str, ...]  # errors; retried at the next call
    waiting: tuple[str, ...] = ()  # termination requested, not proven yet

    def __add__(self, other: "ReapReport") -> "ReapReport":
        return ReapReport(
            self.ended + other.ended,
            self.running + other.running,
            self.failed + other.failed,
            self.waiting + other.waiting,
        )


def listing(
    provider: Provider, ledger: PodLedger, settings: PodSettings, now: datetime, is_running: Callable[[str], bool]
) -> list[Listed]:
    """Return every pod of ours that is in the control plane's list or alive in the ledger.

    Args:
        is_running: whether the run of this id is alive, for runs on other machines: the holder of a job's lock
            on this machine counts as alive anyway.

    Raises:
        PodError: the control plane's list or the ledger cannot be read.
    """
    jobs = _our_pods(provider, ledger, settings, now)
    lease = timedelta(minutes=settings.lease_minutes)
    return [listed for pods in jobs for listed in _list(ledger, pods, provider.name, now, is_running, lease)]


def reap(
    provider: Provider,
    ledger: PodLedger,
    settings: PodSettings,
    now: Callable[[], datetime],
    is_running: Callable[[str], bool],
    sleep: Callable[[float], None] = time.sleep,
) -> ReapReport:
    """Terminate every orphaned pod of ours; a failure with one does not affect the others.

    A pod that is not listed is polled several times, seconds apart. If that does not prove its termination yet
    (`sightings`), it is reported as waiting and stays in the ledger for the next call. The same holds for pods for
    which ``sleep`` has no time left.

    Raises:
        PodError: the control plane's list or the ledger cannot be read.
    """
    report = ReapReport((), (), ())
    lag = timedelta(seconds=settings.lag_seconds)
    for pods in _our_pods(provider, ledger, settings, now()):
        try:
            sleep(0)
            folder = ledger.folder(pods.key)
            with hold(folder):  # prevents a run from starting this job meanwhile
                if kept.until(folder, now(), timedelta(minutes=settings.lease_minutes)) and not pods.overdue(now()):
                    report += ReapReport((), pods.ids, ())
                    continue
                report += _reap_job(provider, ledger, pods, now, is_running, lag, sleep)
        except JobBusy:
            report += _reap_beside_run(provider, ledger, pods, now(), lag)
        except OutOfTime as error:
            report += ReapReport((), (), (), (f"{pods.name}: {error}",))
        except (PodError, OSError) as error:
            report += ReapReport((), (), (f"{pods.key}: {reason_of(error)}",))
    return report


@dataclass(frozen=True)
class _Pods:
    """Pods of one job: those listed, and those alive in the ledger."""

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


def _our_pods(provider: Provider, ledger: PodLedger, settings: PodSettings, now: datetime) -> list[_Pods]:
    """Return our pods by job. Pods in the ledger are ours even if they have an earlier prefix or installation id; with
    a name of an earlier version, which others may use too, only the pods in the ledger are ours."""
    installation = installation_id(ledger.path.parent)
    remembered = {
        name: key for name, key in ledger.names(provider.name, now - _REMEMBERED).items() if is_made_here(name)
    }
    there = provider.find("")
    rows = ledger.live(provider.name)  # read after the list, so that a pod booked meanwhile is not taken for unknown
    known = remembered | {row.name: row.key for row in rows}
    ids = {row.pod_id for row in rows}
    jobs = {row.name: _Pods(row.key, row.name) for row in rows}
    for pod in there:
        key = key_of(settings.name, installation, pod.name) or known.get(pod.name)
        if key and (is_made_here(pod.name) or pod.pod_id in ids):
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
    lag: timedelta,
    sleep: Callable[[float], None],
) -> ReapReport:
    """Terminate the pods of a job that no process on this machine works on."""
    if any(is_running(row.run_id) for row in pods.rows) and not pods.overdue(now()):
        return ReapReport((), pods.ids, ())
    left: list[Unproven] = []
    for poll in range(_ROUNDS):
        left = terminate_named(provider, ledger, pods.key, pods.name, now, lag)
        if not left or any(one.counts_from is not None and one.counts_from > now() for one in left):
            break
        if poll < _ROUNDS - 1:
            sleep(POLL_PAUSE)
    if left:
        return ReapReport(
            (),
            (),
            tuple(one.what for one in left if one.counts_from is None),
            tuple(one.what for one in left if one.counts_from is not None),
        )
    keys.remove_keys(ledger.folder(pods.key) / "keys")
    return ReapReport(pods.ids, (), ())


def _reap_beside_run(provider: Provider, ledger: PodLedger, pods: _Pods, now: datetime, lag: timedelta) -> ReapReport:
    """Terminate those pods of a live run's job that are past their time limit or unknown to the run. The run notices,
    verifies their termination and books it."""
    orphans = [row for row in pods.overdue(now) if row.pod_id is not None]
    orphans += [ledger.stray(pods.rows[0], pod, now) for pod in _unknown(provider, ledger, pods, now, lag)]
    troubles = {row.pod_id or "": request_termination(provider, ledger, row, now) for row in orphans}
    return ReapReport(
        tuple(pod_id for pod_id, trouble in troubles.items() if not trouble),
        tuple(pod_id for pod_id in pods.ids if pod_id not in troubles),
        tuple(f"{pod_id}: it could not be terminated{trouble}" for pod_id, trouble in troubles.items() if trouble),
    )


def _unknown(provider: Provider, ledger: PodLedger, pods: _Pods, now: datetime, lag: timedelta) -> list[Pod]:
    """Return the pods of a live run's job that cannot be its own: they have no row, no order is in flight, and both
    were true a while ago already. The run itself finds them sooner; this is for a run that hangs."""
    ids = {row.pod_id for row in pods.rows}
    if None in ids or not ids:
        return []
    return [
        pod
        for pod in pods.listed
        if pod.pod_id not in ids
        and is_made_here(pod.name)
        and now - ledger.sighted(provider.name, pod.pod_id, now) >= _GRACE_LAGS * lag
    ]


def _list(
    ledger: PodLedger,
    pods: _Pods,
    provider: str,
    now: datetime,
    is_running: Callable[[str], bool],
    lease: timedelta,
) -> Iterator[Listed]:
    folder = ledger.folder(pods.key)
    busy = is_held(folder)
    kept_until = kept.until(folder, now, lease)
    by_id = {pod.pod_id: pod for pod in pods.listed}
    for row in pods.rows:
        pod = by_id.pop(row.pod_id or "", None)
        yield of_row(row, _status(pod.status) if pod else NOT_LISTED, now, busy or is_running(row.run_id), kept_until)
    for pod in by_id.values():
        why = "not the pod that its run uses" if busy and pods.rows else "the ledger does not know it"
        price = pod.usd_per_hour
        yield Listed(pods.name, pod.pod_id, _status(pod.status), None, pod.gpu, price, None, None, None, why, provider)


def _status(status: PodStatus) -> str:
    """Return a status for people: an exited pod still exists and is still billed."""
    return "stopped, still billed" if status is PodStatus.ENDED else str(status)


def of_row(row: PodRow, status: str, now: datetime, has_run: bool, kept_until: datetime | None) -> Listed:
    """Return a pod according to the ledger."""
    orphan = None
    if now >= row.deadline:
        orphan, kept_until = "its time limit is reached", None
    elif not has_run and kept_until is None:
        orphan = "no run is attached to it"
    return Listed(
        row.name,
        row.pod_id,
        status,
        row.state,
        row.gpu,
        row.usd_per_hour,
        row.created_at,
        row.deadline,
        row.run_id,
        orphan,
        row.provider,
        None if has_run else kept_until,
    )


def is_held(folder: Path) -> bool:
    """Return whether a process on this machine works on the pod job with this local folder."""
    if not folder.exists():
        return False
    try:
        with hold(folder):
            return False
    except JobBusy:
        return True
