"""CREATING: ordering pods until there is one, and never two.

A control plane that answers an order with an error may have created the pod all the same, or create it minutes later.
So a look for a pod of the job's name precedes every order, and one that went wrong is followed by looks for as long as
a new pod may stay hidden (`lag_seconds` of [pods]); only an explicit refusal counts as one. What comes later still is
ended by `latecomers` while the job runs, and by the reaper after it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain, repeat

from bizcharts_pipeline.pods import keys, plan
from bizcharts_pipeline.pods.ending import tell_to_end
from bizcharts_pipeline.pods.errors import (
    AccessDenied,
    BadHost,
    JobFailed,
    NoCapacity,
    OrderRefused,
    OutOfFunds,
    OverBudget,
    PodError,
    Uncertain,
)
from bizcharts_pipeline.pods.latecomers import end_others
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import Candidate, Pod, PodStatus, State
from bizcharts_pipeline.pods.sightings import check_price
from bizcharts_pipeline.pods.work import Work

CAPACITY_PAUSES = (60, 120, 300, 600)  # seconds between two rounds over all candidates; the last one again and again
LOOKS = 3
LOOK_PAUSE = 2.0  # seconds
_LONGEST_PAUSE = 15.0  # seconds between two looks for the pod of an order that went wrong
_SLOWER = 1.5
_ORDERS = 2  # of one candidate, where nobody knows what came of the first
_MAX_CHARACTERS = 1_000


def create(work: Work) -> None:
    """Get a pod.

    Raises:
        NoCapacity: nowhere was one free for as long as the settings say to try.
        Uncertain: the control plane gave no usable answer for so long.
        OverBudget: every candidate would be too dear; nothing was ordered.
        DearerThanListed: a pod was created, and is charged more than the budget leaves.
        OrderRefused: every candidate was refused; names the last one's reason.
        AccessDenied, OutOfFunds: asking again does not help.
        BadHost: it is on a machine that failed this job before.
        JobFailed: the job's time is over.
    """
    if seconds_left(work) <= 0:
        raise JobFailed(f"The job's {work.settings.max_hours:g} h (`max_hours` of [pods]) are over", "max_runtime")
    keys.remove_keys(work.keys)
    public_key = keys.make_keys(work.keys)
    until = work.now() + timedelta(minutes=work.settings.capacity_minutes)
    for pause in chain(CAPACITY_PAUSES, repeat(CAPACITY_PAUSES[-1])):
        refusals = _one_round(work, public_key)
        if not refusals:
            return
        if not any(isinstance(refusal, NoCapacity | Uncertain) for refusal in refusals):
            raise _final(refusals)
        if work.now() + timedelta(seconds=pause) > until:
            raise _summary(work, refusals)
        work.say(f"no pod to be had; asking again in {pause // 60} min: {refusals[-1]}")
        work.wait(pause)


def seconds_left(work: Work) -> float:
    """Return how long the job's next pod may live: `max_hours` are for all of them together."""
    return work.settings.max_hours * 3600 - sum(pod.seconds for pod in work.ledger.pods(work.job_id))


def look_up(work: Work) -> list[Pod]:
    """Return the pods of this job that are not ended, the oldest first.

    Raises:
        Uncertain: the control plane did not say.
    """
    for look in range(LOOKS):
        try:
            return _alive(work)
        except Uncertain:
            if look == LOOKS - 1:
                raise
            work.sleep(LOOK_PAUSE)
    raise AssertionError


def take(work: Work, pods: Sequence[Pod], row: PodRow) -> None:
    """Make the oldest of some pods of one name the job's own, and end the others.

    Raises:
        DearerThanListed: it is charged more than was listed, and more than the budget leaves.
    """
    kept, *others = pods
    work.row = work.ledger.found(row.id, kept)
    end_others(work, others)
    if work.row.usd_per_hour > row.usd_per_hour:
        check_price(work)


def await_order(work: Work, ordered_at: datetime) -> list[Pod]:
    """Look for the pod of an order that was sent at ``ordered_at`` until it would be shown; return what there is.

    Raises:
        Uncertain: the control plane did not say to the last.
    """
    until = ordered_at + work.lag
    pause = LOOK_PAUSE
    while True:
        trouble: Uncertain | None = None
        try:
            if there := _alive(work):
                return there
        except Uncertain as error:
            trouble = error
        if work.now() >= until:
            break
        work.wait(pause)
        pause = min(pause * _SLOWER, _LONGEST_PAUSE)
    if trouble is not None:
        raise trouble
    return []


def _end_leftovers(work: Work, pods: Sequence[Pod]) -> None:
    """End what an order before this search brought late: our new key does not open it. It is told to end and booked;
    a new pod is not ordered beside it."""
    assert work.row is not None
    like = work.ledger.before(work.row) or work.row
    for pod in pods:
        stray = work.ledger.stray(like, pod, work.now())
        work.say(f"the pod {pod.pod_id} came late of an earlier order: it is ended")
        if trouble := tell_to_end(work.provider, work.ledger, stray, work.now()):
            raise Uncertain(f"No pod is rented beside {pod.pod_id}, which cannot be ended{trouble}")


def _one_round(work: Work, public_key: str) -> list[PodError]:
    """Ask for each candidate once; return why none was to be had, or nothing once there is a pod."""
    candidates = plan.candidates(work.settings)
    refusals: list[PodError] = []
    for turn in range(len(candidates)):
        index = (work.candidate + turn) % len(candidates)
        work.stop_if_cancelled()
        try:
            pods = _ask(work, candidates[index], public_key)
        except (NoCapacity, Uncertain, OverBudget, OrderRefused) as refusal:
            refusals.append(refusal)
            continue
        assert work.row is not None
        work.candidate = index
        take(work, pods, work.row)
        pod = work.pod
        if pod.machine is not None and pod.machine in work.ledger.bad_machines(work.job_id):
            raise BadHost(f"The pod {pod.pod_id} is on the machine {pod.machine}, which failed this job before")
        return []
    return refusals


def _ask(work: Work, candidate: Candidate, public_key: str) -> list[Pod]:
    """Order one candidate; return the pods of this job that there are then: one, or by mistake more."""
    price = work.provider.usd_per_hour(candidate)
    where = f"{candidate.gpu}, {candidate.cloud.lower()} cloud, {candidate.data_center or 'anywhere'}"
    if price is None:
        raise NoCapacity(f"{where}: not to be had now")
    seconds = seconds_left(work)
    asked_at, booked = work.now(), price
    if work.row and work.in_doubt:  # the pod may be that of the order before, at that price
        asked_at, booked = work.row.created_at, max(price, work.row.usd_per_hour)
    row = work.ledger.book(
        work.job_id, work.row.id if work.row else None, candidate, booked, seconds, work.caps, work.now(), asked_at
    )
    work.row = next(pod for pod in work.ledger.live(work.provider.name, work.job.key) if pod.id == row)
    work.enter(State.CREATING, f"{where}, at ${price:f} an hour")
    for _ in range(_ORDERS):
        if there := look_up(work):
            if work.in_doubt:
                return there
            _end_leftovers(work, there)
        doubted, work.in_doubt = work.in_doubt, True  # until there is an answer
        ordered_at = work.now()
        work.ledger.ordered(row, ordered_at)
        left = (work.row.deadline - ordered_at).total_seconds()  # the first order may have taken a while
        try:
            created = work.provider.create(plan.order(work.settings, work.name, candidate, public_key, left))
        except (NoCapacity, AccessDenied, OutOfFunds, OrderRefused):
            work.in_doubt = doubted
            raise
        except Uncertain as error:
            work.say(f"nobody knows what came of the order; looking for it: {error}")
            ordered_at = work.now()  # the request may have been carried out at any time until now
            work.ledger.ordered(row, ordered_at)
            work.wait(LOOK_PAUSE)
            if there := await_order(work, ordered_at):
                return there
            continue
        late = [pod for pod in look_up(work) if pod.pod_id != created.pod_id] if doubted else []
        return [*late, created]
    raise Uncertain(f"{where}: the order failed {_ORDERS} times, and no pod of its name was found")


def _alive(work: Work) -> list[Pod]:
    pods = work.provider.find(work.name)
    return [pod for pod in pods if pod.name == work.name and pod.status is not PodStatus.ENDED]


def _final(refusals: list[PodError]) -> PodError:
    """Return what to raise when no candidate can be had, however long one waits."""
    for refusal in refusals:
        if isinstance(refusal, OverBudget):
            return refusal
    different = list(dict.fromkeys(str(refusal) for refusal in refusals))
    return OrderRefused(f"No candidate can be ordered: {' '.join(different)}"[:_MAX_CHARACTERS])


def _summary(work: Work, refusals: list[PodError]) -> PodError:
    """Return what to raise when there was nothing to be had for long enough."""
    minutes = work.settings.capacity_minutes
    last = f"{len(refusals)} candidates were asked for {minutes:g} min; the last answer: {refusals[-1]}"
    if any(isinstance(refusal, NoCapacity) for refusal in refusals):
        return NoCapacity(f"No GPU is free: {last}. Try later, or add to `gpus` or `clouds` of [pods].")
    return Uncertain(f"The control plane gives no usable answer: {last}")
