"""RELEASING: terminate pods. A pod counts as terminated when the control plane's answers prove it (`sightings`), not
when the request was sent; until then it counts as alive in the ledger, at its maximum cost."""

from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from bizcharts_pipeline.pods import keys, sightings
from bizcharts_pipeline.pods.errors import PodError, PodLedgerError
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.names import is_made_here
from bizcharts_pipeline.pods.protocol import Pod, Provider, State
from bizcharts_pipeline.pods.work import Work

PAUSES = (2, 5, 10, 30)  # seconds before each retry for a pod that is still listed or whose status is unknown
# A pod that was not terminated from here may outlive its deadline: its own timer starts with its container, after the
# pull of the image, and its request to terminate may need several attempts.
_OWN_END = timedelta(hours=1)
_LONGEST_PAUSE = 15.0  # seconds between two polls of a pod that may not be listed yet


@dataclass(frozen=True)
class Unproven:
    """A pod whose termination is not proven."""

    what: str  # the pod and the reason, for messages
    counts_from: datetime | None  # when absence starts to count as proof; None: an error occurred


def terminate_named(
    provider: Provider, ledger: PodLedger, key: str, name: str, now: Callable[[], datetime], lag: timedelta
) -> list[Unproven]:
    """Request the termination of every pod of one name, whether in the ledger or not, check once whether each is still
    listed, and book those whose termination is proven; return the others.

    A pod's cost is booked only when the number of pods of the name is known.
    """
    refusals = {row.id: _request_if_needed(provider, ledger, row, now()) for row in ledger.live(provider.name, key)}
    try:
        found = [pod for pod in provider.find(name) if pod.name == name]
    except PodError as error:
        return [Unproven(f"{name}: the list of pods is not available: {error}{''.join(refusals.values())}", None)]
    unknown = _note_unknown(provider, ledger, key, found, now)
    listed = {pod.pod_id for pod in found}
    left = [
        one
        for row in ledger.live(provider.name, key)
        if (one := _verify(provider, ledger, row, listed, now, lag, refusals.get(row.id, "")))
    ]
    return left + [Unproven(f"{pod_id}: its termination was requested a moment ago", None) for pod_id in unknown]


def request_termination(provider: Provider, ledger: PodLedger, row: PodRow, now: datetime) -> str:
    """Request the termination of a pod and record whether it was accepted; return the error, or ''.

    A request that failed may have been executed, but does not count as accepted: a failing control plane may deny the
    existence of a pod that it still bills. So the request is repeated, and the pod's absence must persist.
    """
    assert row.pod_id is not None
    try:
        if provider.terminate(row.pod_id):
            ledger.termination_accepted(row.id, now)
    except PodError as error:
        return f" ({error})"
    return ""


def release(work: Work) -> None:
    """Terminate all pods of the job, after any failure; after several failed attempts, leave them to the reaper.

    This takes until termination is proven: seconds for a pod that was listed, up to a few times `lag_seconds` of [pods]
    for one that was not listed yet or vanished.

    Raises:
        PodLedgerError, or an exception of the listener: after the pod was terminated nevertheless.
    """
    try:
        failure = _release(work)
    except BaseException:  # a second Ctrl-C, say: it must not leave a pod behind
        _release(work)
        raise
    if failure is not None:
        raise failure


def _release(work: Work) -> Exception | None:
    if work.row is not None and work.row.pod_id is None and not work.in_doubt:
        work.ledger.end(work.row.id, work.now())  # every order was refused, so there is nothing to terminate
        work.forget_pod()
        return None
    failure = _enter(work, State.RELEASING, "terminating the pod")
    left, trouble = _terminate_all(work)
    failure = trouble or failure
    if left:
        work.left_behind = True
        failure = (
            _enter(
                work,
                State.ORPHAN,
                f"A POD MAY STILL RUN AND COST MONEY: {'; '.join(one.what for one in left)}. `bizcharts pods reap` "
                "tries again; if that fails too, terminate it in RunPod's console.",
            )
            or failure
        )
    else:
        failure = _enter(work, State.RELEASED, "the pod is terminated") or failure
    with suppress(OSError):
        keys.remove_keys(work.keys)
    work.forget_pod()
    return failure


def _terminate_all(work: Work) -> tuple[Sequence[Unproven], Exception | None]:
    """Terminate every pod of the job's name; return those without proof, and the ledger's exception, if any."""
    failure: Exception | None = None
    pauses = iter(PAUSES)
    while True:
        try:
            left = terminate_named(work.provider, work.ledger, work.job.key, work.name, work.now, work.lag)
        except PodLedgerError as error:  # terminate the pod first, book it later
            failure = error
            left = _terminate_without_ledger(work)
        if not left:
            return left, failure
        waits = [one.counts_from for one in left if one.counts_from is not None]
        if len(waits) < len(left):
            pause: float | None = next(pauses, None)
            if pause is None:
                return left, failure
        else:
            pause = max(sightings.POLL_PAUSE, min((min(waits) - work.now()).total_seconds(), _LONGEST_PAUSE))
        work.sleep(pause)


def _terminate_without_ledger(work: Work) -> list[Unproven]:
    """Terminate the current pod although the ledger cannot be used."""
    if work.row is None or work.row.pod_id is None:
        return []
    pod_id = work.row.pod_id
    try:
        work.provider.terminate(pod_id)
        left = work.provider.get(pod_id)
    except PodError as error:
        return [Unproven(f"{pod_id}: its status is unknown: {error}", None)]
    return [] if left is None else [Unproven(f"{pod_id}: terminated, but still listed as {left.status}", None)]


def _request_if_needed(provider: Provider, ledger: PodLedger, row: PodRow, now: datetime) -> str:
    """Request a pod's termination, unless that was accepted and the pod is no longer listed; return the error, or
    ''."""
    if row.pod_id is None or (row.told_at is not None and row.missing_since is not None):
        return ""
    return request_termination(provider, ledger, row, now)


def _note_unknown(
    provider: Provider, ledger: PodLedger, key: str, found: Sequence[Pod], now: Callable[[], datetime]
) -> list[str]:
    """Request the termination of each listed pod without a row, and give it a row: that of an order with unknown
    outcome, or a new one. Return the ids of pods without a row, because the ledger does not know their job.

    Pods with a name in an earlier version's format, which another installation may use too, are not treated as ours.
    """
    without = []
    rows = ledger.live(provider.name, key)
    nameless = [row for row in rows if row.pod_id is None]
    known = {row.pod_id for row in rows}
    for pod in found:
        if pod.pod_id in known:
            continue
        if nameless:
            row = ledger.found(nameless.pop().id, pod)
        elif not is_made_here(pod.name):
            continue
        elif like := (rows[0] if rows else ledger.first(provider.name, key)):
            row = ledger.stray(like, pod, now())
        else:
            with suppress(PodError):
                provider.terminate(pod.pod_id)
            without.append(pod.pod_id)
            continue
        request_termination(provider, ledger, ledger.seen(row.id, now()), now())
    return without


def _verify(
    provider: Provider,
    ledger: PodLedger,
    row: PodRow,
    listed: Collection[str],
    now: Callable[[], datetime],
    lag: timedelta,
    refusal: str,
) -> Unproven | None:
    """Check whether a pod whose termination was requested is still listed; book it if its termination is proven."""
    what = row.pod_id or f"an order of {row.name}"
    if row.pod_id is not None:
        try:
            pod = provider.get(row.pod_id)
        except PodError as error:
            return Unproven(f"{what}: its status is unknown: {error}{refusal}", None)
        if pod is not None or row.pod_id in listed:
            row = ledger.seen(row.id, now())
            hidden_until = (row.ordered_at or row.created_at) + lag
            waits = row.told_at is None and now() < hidden_until
            status = pod.status if pod is not None else "listed"
            return Unproven(f"{what}: terminated, but still {status}{refusal}", hidden_until if waits else None)
    row = ledger.missing(row.id, now(), counts=False)
    if refusal:  # absence proves nothing if the termination request fails
        return Unproven(f"{what}: it is not listed, but the request to terminate it failed{refusal}", None)
    counts_from = sightings.counts_from(row, lag)
    if now() >= counts_from:
        row = ledger.missing(row.id, now(), counts=True)
    if sightings.is_gone(row):
        ledger.end(row.id, _ended_at(row, now()))
        return None
    return Unproven(
        f"{what}: its termination was requested, and it is not listed; this proves it if it lasts until shortly after "
        f"{counts_from:%H:%M:%S} UTC{refusal}",
        counts_from,
    )


def _ended_at(row: PodRow, now: datetime) -> datetime:
    """Return the time until which a terminated pod is billed."""
    if row.told_at is not None and row.seen_at is not None and row.missing_since is not None:
        return max(row.missing_since, row.told_at)
    return min(now, max(row.deadline + _OWN_END, row.told_at or row.created_at))


def _enter(work: Work, state: State, detail: str) -> Exception | None:
    """Enter a state; return an exception instead of raising it, as nothing may prevent the termination of a pod."""
    try:
        work.enter(state, detail)
    except Exception as error:
        work.state = state
        return error
    return None
