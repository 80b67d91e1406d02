"""PLANNED: handle the remains of a killed run of the same job before anything is rented."""

from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.pods.creating import await_order, find_live_pods, take
from bizcharts_pipeline.pods.ending import release
from bizcharts_pipeline.pods.errors import PodError, Uncertain
from bizcharts_pipeline.pods.latecomers import terminate_others
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import Pod, State
from bizcharts_pipeline.pods.states import ADOPTABLE
from bizcharts_pipeline.pods.work import Work


def plan(work: Work) -> Path | None:
    """PLANNED: use, re-attach to, or terminate the pods and results that a killed run of this job left behind.

    Returns:
        The folder of the result, if it was already fetched and verified.

    Raises:
        Uncertain: the control plane's list of pods is unknown, or a pod of an earlier run cannot be terminated.
    """
    key, provider = work.job.key, work.provider.name
    before = work.ledger.open_job(key, provider)
    work.job_row = before or work.ledger.begin(key, work.new_name, provider, work.run_id, work.now())
    work.enter(State.PLANNED, f"job {key}")
    there, rows = find_live_pods(work), work.ledger.live(provider, key)
    if before and before.result and has_files(before.result):
        work.ledger.resume(before.id, work.run_id)
        work.say(f"an earlier run was killed after it fetched and verified the result: {before.result}")
        if there or rows:
            release(work)
        return before.result
    if has_files(work.into):
        raise PodError(f"{work.into} already exists, and results are never overwritten; move it away, and try again")
    if before and not there and (late := _order_in_flight(rows)) and has_files(work.keys):
        work.say("an earlier run was killed while it ordered a pod; searching for that pod")
        there = await_order(work, late)
    if before and (row := _running_pod(work, before.id, rows, there)):
        _reattach(work, row, there)
        return None
    if there or rows:
        work.say(f"terminating the pods of an earlier run: {', '.join(pod.pod_id for pod in there) or 'none left'}")
        release(work)
        if work.left_behind:
            raise Uncertain(
                f"An earlier pod of the job {key} cannot be terminated, so no second one is rented; terminate it in "
                "RunPod's console, and try again"
            )
    if before:
        work.job_row = work.ledger.begin(key, work.new_name, provider, work.run_id, work.now())
        work.enter(State.PLANNED, f"job {key}, restarted")
    return None


def _order_in_flight(rows: list[PodRow]) -> datetime | None:
    """Return the time of the last order with unknown outcome."""
    return max((row.ordered_at for row in rows if row.pod_id is None and row.ordered_at), default=None)


def _running_pod(work: Work, job: int, rows: list[PodRow], there: list[Pod]) -> PodRow | None:
    """Return the killed run's pod to re-attach to: it is alive as far as known, and its keys are here.

    A pod that is not listed may be too new for that; BOOTING finds out.
    """
    ids = {pod.pod_id for pod in there}
    for row in rows:
        new = row.told_at is None and row.ordered_at and work.now() < row.ordered_at + work.lag
        known = bool(ids) if row.pod_id is None else row.pod_id in ids or new
        if row.job == job and row.state in ADOPTABLE and known and has_files(work.keys):
            return row
    return None


def _reattach(work: Work, row: PodRow, there: list[Pod]) -> None:
    own = [pod for pod in there if row.pod_id in (None, pod.pod_id)][:1]
    others = [pod for pod in there if pod not in own]
    work.ledger.resume(row.job, work.run_id)
    work.row, work.reattached = row, True
    if own:
        take(work, own + others, row)
    else:
        terminate_others(work, others)
    work.launched, work.in_doubt = work.pod.launched, not row.launched
    work.say(f"re-attaching to the pod {work.pod_id} of the run {row.run_id or '(unnamed)'}")


def has_files(folder: Path) -> bool:
    """Return whether the folder of a pod's result or checkpoint exists and is not empty."""
    return folder.is_dir() and any(folder.iterdir())
