"""RELEASING: ending pods. A pod has ended when the control plane's answers prove it (`sightings`), not when it was told
to end; until then it counts as alive in the ledger, with all that it may cost."""

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

PAUSES = (2, 5, 10, 30)  # seconds before each further try to end a pod that is still shown, or of which nobody tells
# A pod that nobody ended may live on after its deadline: its own time is counted from the start of its container, which
# the pull of the image precedes, and it may have to ask for its end several times.
_OWN_END = timedelta(hours=1)
_LONGEST_PAUSE = 15.0  # seconds between two looks for a pod that may not be shown yet


@dataclass(frozen=True)
class Left:
    """A pod whose end is not proven."""

    what: str  # the pod and why, for people
    counts_from: datetime | None  # when looks begin to prove something; None: something went wrong


def end_named(
    provider: Provider, ledger: PodLedger, key: str, name: str, now: Callable[[], datetime], lag: timedelta
) -> list[Left]:
    """Tell every pod of one name to end, those that the ledger knows and those that it does not, look once whether
    each is still shown, and book those whose end is proven; return the others.

    What a pod cost is booked only once it is known how many pods of the name there are.
    """
    refusals = {row.id: _tell(provider, ledger, row, now()) for row in ledger.live(provider.name, key)}
    try:
        found = [pod for pod in provider.find(name) if pod.name == name]
    except PodError as error:
        return [Left(f"{name}: nobody says which pods there are: {error}{''.join(refusals.values())}", None)]
    unknown = _note_unknown(provider, ledger, key, found, now)
    listed = {pod.pod_id for pod in found}
    left = [
        one
        for row in ledger.live(provider.name, key)
        if (one := _look(provider, ledger, row, listed, now, lag, refusals.get(row.id, "")))
    ]
    return left + [Left(f"{pod_id}: it was told to end a moment ago", None) for pod_id in unknown]


def tell_to_end(provider: Provider, ledger: PodLedger, row: PodRow, now: datetime) -> str:
    """Send the request to end a pod and note whether it was accepted; return what went wrong, or ''.

    An error may hide that the request was carried out. It still does not count as accepted: a control plane in trouble
    may at the same time deny a pod that it goes on billing, so the request is repeated, and its silence has to last.
    """
    assert row.pod_id is not None
    try:
        if provider.terminate(row.pod_id):
            ledger.told(row.id, now)
    except PodError as error:
        return f" ({error})"
    return ""


def release(work: Work) -> None:
    """End what the job has rented, whatever happened; after several vain tries leave it to the reaper.

    It takes as long as it takes to prove the end: seconds for a pod that was shown, up to a few times `lag_seconds` of
    [pods] for one that was not shown yet or vanished.

    Raises:
        PodLedgerError, or what the listener raised: after the pod was ended all the same.
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
        work.ledger.end(work.row.id, work.now())  # every order was refused: there is nothing to end
        work.forget_pod()
        return None
    failure = _enter(work, State.RELEASING, "ending the pod")
    left, trouble = _end_all(work)
    failure = trouble or failure
    if left:
        work.left_behind = True
        failure = (
            _enter(
                work,
                State.ORPHAN,
                f"A POD MAY STILL RUN AND COST MONEY: {'; '.join(one.what for one in left)}. `bizcharts pods reap` "
                "tries again; if that fails too, end it by hand in RunPod's console.",
            )
            or failure
        )
    else:
        failure = _enter(work, State.RELEASED, "the pod is gone") or failure
    with suppress(OSError):
        keys.remove_keys(work.keys)
    work.forget_pod()
    return failure


def _end_all(work: Work) -> tuple[Sequence[Left], Exception | None]:
    """End every pod of the job's name; return those whose end could not be proven, and what the ledger raised."""
    failure: Exception | None = None
    pauses = iter(PAUSES)
    while True:
        try:
            left = end_named(work.provider, work.ledger, work.job.key, work.name, work.now, work.lag)
        except PodLedgerError as error:  # the pod first, its books later
            failure = error
            left = _end_unbooked(work)
        if not left:
            return left, failure
        waits = [one.counts_from for one in left if one.counts_from is not None]
        if len(waits) < len(left):
            pause: float | None = next(pauses, None)
            if pause is None:
                return left, failure
        else:
            pause = max(sightings.LOOK_PAUSE, min((min(waits) - work.now()).total_seconds(), _LONGEST_PAUSE))
        work.sleep(pause)


def _end_unbooked(work: Work) -> list[Left]:
    """End the pod at work though the ledger cannot be used."""
    if work.row is None or work.row.pod_id is None:
        return []
    pod_id = work.row.pod_id
    try:
        work.provider.terminate(pod_id)
        left = work.provider.get(pod_id)
    except PodError as error:
        return [Left(f"{pod_id}: nobody says whether it is gone: {error}", None)]
    return [] if left is None else [Left(f"{pod_id}: it was told to end and is still shown as {left.status}", None)]


def _tell(provider: Provider, ledger: PodLedger, row: PodRow, now: datetime) -> str:
    """Tell a pod to end unless it was told so and is not shown any more; return what went wrong, or ''."""
    if row.pod_id is None or (row.told_at is not None and row.missing_since is not None):
        return ""
    return tell_to_end(provider, ledger, row, now)


def _note_unknown(
    provider: Provider, ledger: PodLedger, key: str, found: Sequence[Pod], now: Callable[[], datetime]
) -> list[str]:
    """Tell each listed pod to end that has no row, and give it one: that of an order of which nobody knew what came,
    or a new one. Return the ids of those that can have none, as the ledger does not know their job.

    Pods under a name of an earlier version, which another installation may use too, are not taken for ours.
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
        tell_to_end(provider, ledger, ledger.seen(row.id, now()), now())
    return without


def _look(
    provider: Provider,
    ledger: PodLedger,
    row: PodRow,
    listed: Collection[str],
    now: Callable[[], datetime],
    lag: timedelta,
    refusal: str,
) -> Left | None:
    """Look whether a pod that was told to end is still shown; book it if its end is proven."""
    what = row.pod_id or f"an order of {row.name}"
    if row.pod_id is not None:
        try:
            pod = provider.get(row.pod_id)
        except PodError as error:
            return Left(f"{what}: nobody says whether it is gone: {error}{refusal}", None)
        if pod is not None or row.pod_id in listed:
            row = ledger.seen(row.id, now())
            hidden_until = (row.ordered_at or row.created_at) + lag
            waits = row.told_at is None and now() < hidden_until
            status = pod.status if pod is not None else "listed"
            return Left(f"{what}: it was told to end and is still {status}{refusal}", hidden_until if waits else None)
    row = ledger.missing(row.id, now(), counts=False)
    if refusal:  # who cannot end a pod is not believed that it is gone
        return Left(f"{what}: it is not shown, but the request to end it failed{refusal}", None)
    counts_from = sightings.counts_from(row, lag)
    if now() >= counts_from:
        row = ledger.missing(row.id, now(), counts=True)
    if sightings.is_gone(row):
        ledger.end(row.id, _ended_at(row, now()))
        return None
    return Left(
        f"{what}: it was told to end and is not shown; that proves its end if it lasts until shortly after "
        f"{counts_from:%H:%M:%S} UTC{refusal}",
        counts_from,
    )


def _ended_at(row: PodRow, now: datetime) -> datetime:
    """Return until when a pod is booked that is proven to be gone."""
    if row.told_at is not None and row.seen_at is not None and row.missing_since is not None:
        return max(row.missing_since, row.told_at)
    return min(now, max(row.deadline + _OWN_END, row.told_at or row.created_at))


def _enter(work: Work, state: State, detail: str) -> Exception | None:
    """Go over to a state; hand back what went wrong in saying so, for nothing may keep a pod from being ended."""
    try:
        work.enter(state, detail)
    except Exception as error:
        work.state = state
        return error
    return None
