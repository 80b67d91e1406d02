"""PLANNED: what a killed run of the same job left behind is used, taken over, or ended, before anything is rented."""

from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.pods.creating import await_order, look_up, take
from bizcharts_pipeline.pods.ending import release
from bizcharts_pipeline.pods.errors import PodError, Uncertain
from bizcharts_pipeline.pods.latecomers import end_others
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import Pod, State
from bizcharts_pipeline.pods.states import ADOPTABLE
from bizcharts_pipeline.pods.work import Work


def plan(work: Work) -> Path | None:
    """PLANNED: see what a killed run of this job left behind; use it, take it over, or end it.

    Returns:
        The folder of the result, if that was fetched and verified already.

    Raises:
        Uncertain: the control plane does not say which pods there are, or one of an earlier run cannot be ended.
    """
    key, provider = work.job.key, work.provider.name
    before = work.ledger.open_job(key, provider)
    work.undertaken = before or work.ledger.begin(key, work.new_name, provider, work.run_id, work.now())
    work.enter(State.PLANNED, f"job {key}")
    there, rows = look_up(work), work.ledger.live(provider, key)
    if before and before.result and has_files(before.result):
        work.ledger.resume(before.id, work.run_id)
        work.say(f"an earlier run fetched and verified the result, and was killed then: {before.result}")
        if there or rows:
            release(work)
        return before.result
    if has_files(work.into):
        raise PodError(f"{work.into} is there already; a result is never written over another")
    if before and not there and (late := _order_in_flight(rows)) and has_files(work.keys):
        work.say("an earlier run was killed while it ordered a pod: looking for that")
        there = await_order(work, late)
    if before and (row := _at_work(work, before.id, rows, there)):
        _take_over(work, row, there)
        return None
    if there or rows:
        work.say(
            f"ending what an earlier run left: {', '.join(pod.pod_id for pod in there) or 'nothing is there any more'}"
        )
        release(work)
        if work.left_behind:
            raise Uncertain(f"An earlier pod of the job {key} cannot be ended, and no second one is rented beside it")
    if before:
        work.undertaken = work.ledger.begin(key, work.new_name, provider, work.run_id, work.now())
        work.enter(State.PLANNED, f"job {key}, begun anew")
    return None


def _order_in_flight(rows: list[PodRow]) -> datetime | None:
    """Return when an order was sent of which nobody knows what came."""
    return max((row.ordered_at for row in rows if row.pod_id is None and row.ordered_at), default=None)


def _at_work(work: Work, job: int, rows: list[PodRow], there: list[Pod]) -> PodRow | None:
    """Return the pod of the killed run that is worth taking over: it lives, as far as is known, and we have its keys.

    One that is not listed may be too new for that; BOOTING finds out.
    """
    ids = {pod.pod_id for pod in there}
    for row in rows:
        new = row.told_at is None and row.ordered_at and work.now() < row.ordered_at + work.lag
        known = bool(ids) if row.pod_id is None else row.pod_id in ids or new
        if row.job == job and row.state in ADOPTABLE and known and has_files(work.keys):
            return row
    return None


def _take_over(work: Work, row: PodRow, there: list[Pod]) -> None:
    own = [pod for pod in there if row.pod_id in (None, pod.pod_id)][:1]
    others = [pod for pod in there if pod not in own]
    work.ledger.resume(row.job, work.run_id)
    work.row, work.reattached = row, True
    if own:
        take(work, own + others, row)
    else:
        end_others(work, others)
    work.launched, work.in_doubt = work.pod.launched, not row.launched
    work.say(f"taking over the pod {work.pod_id} from the run {row.run_id or '(unnamed)'}")


def has_files(folder: Path) -> bool:
    """Whether there is anything in a folder, which may be missing."""
    return folder.is_dir() and any(folder.iterdir())
