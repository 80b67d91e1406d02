"""RELEASING: ending pods, surely. A pod is gone when the control plane says so, not when it was told to go."""

from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from bizcharts_pipeline.pods import keys
from bizcharts_pipeline.pods.errors import PodError
from bizcharts_pipeline.pods.ledger import PodLedger, PodLedgerError
from bizcharts_pipeline.pods.protocol import Provider, State
from bizcharts_pipeline.pods.work import Work

PAUSES = (0, 2, 5, 10, 30)  # seconds before each try


def end_pod(provider: Provider, pod_id: str) -> str | None:
    """End one pod and see that it is gone; return what went wrong, if anything did.

    One that exited by itself and is still listed is not gone: its disk costs. Whether it is gone is asked for also
    where the request to end it went wrong: that may have been carried out all the same.
    """
    refusal = ""
    try:
        provider.terminate(pod_id)
    except PodError as error:
        refusal = f" ({error})"
    try:
        left = provider.get(pod_id)
    except PodError as error:
        return f"{pod_id}: nobody says whether it is gone: {error}{refusal}"
    return None if left is None else f"{pod_id}: it was told to end and is {left.status} still{refusal}"


def end_named(provider: Provider, ledger: PodLedger, key: str, name: str, now: Callable[[], datetime]) -> list[str]:
    """End every pod of one name, those that the ledger knows and those that it does not; return what went wrong.

    What each cost is booked when all are verified to be gone: not before it is sure how many there were.
    """
    troubles = []
    rows = ledger.live(provider.name, key)
    ids = {row.pod_id for row in rows if row.pod_id is not None}
    try:
        found = [pod for pod in provider.find(name) if pod.name == name]
    except PodError as error:
        found = []
        troubles.append(f"{name}: nobody says whether there are more: {error}")
    nameless = [row for row in rows if row.pod_id is None]
    for pod in found:
        if pod.pod_id not in ids:
            if nameless:
                ledger.found(nameless.pop().id, pod)
            elif like := (rows[0] if rows else ledger.first(provider.name, key)):
                ledger.stray(like, pod)
            ids.add(pod.pod_id)
    troubles += [trouble for pod_id in sorted(ids) if (trouble := end_pod(provider, pod_id))]
    if not troubles:
        listed = {pod.pod_id for pod in found}
        for row in ledger.live(provider.name, key):
            # What is not even listed has ended by itself, if nobody saw it, then when its time was over.
            ledger.end(row.id, now() if row.pod_id in listed else min(now(), row.deadline))
    return troubles


def release(work: Work) -> None:
    """End what the job has rented, whatever happened; after several vain tries leave it to the reaper.

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
    troubles: list[str] = []
    for pause in PAUSES:
        work.sleep(pause)
        try:
            troubles = end_named(work.provider, work.ledger, work.job.key, work.name, work.now)
        except PodLedgerError as error:  # the pod first, its books later
            failure = error
            trouble = end_pod(work.provider, work.row.pod_id) if work.row and work.row.pod_id else None
            troubles = [trouble] if trouble else []
        if not troubles:
            break
    if troubles:
        work.left_behind = True
        failure = (
            _enter(
                work,
                State.ORPHAN,
                f"A POD MAY STILL RUN AND COST MONEY: {'; '.join(troubles)}. `bizcharts pods reap` tries again; "
                "if that fails too, end it by hand in RunPod's console.",
            )
            or failure
        )
    else:
        failure = _enter(work, State.RELEASED, "the pod is gone") or failure
    with suppress(OSError):
        keys.remove_keys(work.keys)
    work.forget_pod()
    return failure


def _enter(work: Work, state: State, detail: str) -> Exception | None:
    """Go over to a state; hand back what went wrong in saying so, for nothing may keep a pod from being ended."""
    try:
        work.enter(state, detail)
    except Exception as error:
        work.state = state
        return error
    return None
