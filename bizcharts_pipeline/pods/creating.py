"""CREATING: order pods until one exists, and never two.

A control plane that answers an order with an error may still have created the pod, or create it minutes later. So a
search for a pod of the job's name precedes every order, and after a failed order the search is repeated for as long as
a new pod may stay hidden (`lag_seconds` of [pods]); only an explicit refusal counts as a refusal. Pods that appear even
later are terminated by `latecomers` while the job runs, and by the reaper after it.
"""

from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import chain, repeat

from bizcharts_pipeline.pods import keys, plan
from bizcharts_pipeline.pods.ending import request_termination
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
from bizcharts_pipeline.pods.latecomers import terminate_others
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import Candidate, Pod, PodStatus, State
from bizcharts_pipeline.pods.sightings import check_price
from bizcharts_pipeline.pods.work import Work

CAPACITY_PAUSES = (60, 120, 300, 600)  # seconds between two rounds over all candidates; the last one repeats
POLLS = 3
POLL_PAUSE = 2.0  # seconds
_LONGEST_PAUSE = 15.0  # seconds between two searches for the pod of a failed order
_SLOWER = 1.5
_ORDERS = 2  # per candidate, if the outcome of the first is unknown
_MAX_CHARACTERS = 1_000


def create(work: Work) -> None:
    """Create a pod.

    Raises:
        NoCapacity: no candidate was available within the configured time.
        Uncertain: the control plane gave no usable answer within that time.
        OverBudget: every candidate exceeds the budget; nothing was ordered.
        DearerThanListed: a pod was created, and its actual price exceeds the budget.
        OrderRefused: every candidate was refused; the message has the reasons.
        AccessDenied, OutOfFunds: retrying does not help.
        BadHost: the pod is on a machine that failed this job before.
        JobFailed: the job's time limit is reached.
    """
    if seconds_left(work) <= 0:
        raise JobFailed(f"The job has used its {work.settings.max_hours:g} h (`max_hours` of [pods])", "max_runtime")
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
        work.say(f"no pod is available; trying again in {pause // 60} min: {refusals[-1]}")
        work.wait(pause)


def seconds_left(work: Work) -> float:
    """Return how many seconds the job's next pod may live: `max_hours` covers all pods of the job."""
    return work.settings.max_hours * 3600 - sum(pod.seconds for pod in work.ledger.pods(work.job_id))


def find_live_pods(work: Work) -> list[Pod]:
    """Return the live pods of this job, the oldest first.

    Raises:
        Uncertain: the control plane gave no usable answer.
    """
    for poll in range(POLLS):
        try:
            return _alive(work)
        except Uncertain:
            if poll == POLLS - 1:
                raise
            work.sleep(POLL_PAUSE)
    raise AssertionError


def take(work: Work, pods: Sequence[Pod], row: PodRow) -> None:
    """Make the oldest of several pods of one name the job's own, and terminate the others.

    Raises:
        DearerThanListed: its actual price is above the listed one and exceeds the budget.
    """
    kept, *others = pods
    work.row = work.ledger.found(row.id, kept)
    terminate_others(work, others)
    if work.row.usd_per_hour > row.usd_per_hour:
        check_price(work)


def await_order(work: Work, ordered_at: datetime) -> list[Pod]:
    """Search for the pod of an order sent at ``ordered_at`` until a new pod must be visible; return the pods found.

    Raises:
        Uncertain: the last search failed.
    """
    until = ordered_at + work.lag
    pause = POLL_PAUSE
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


def _terminate_leftovers(work: Work, pods: Sequence[Pod]) -> None:
    """Terminate pods of earlier orders that appeared late: the current key does not open them. No new pod is ordered as
    long as one of them cannot be terminated."""
    assert work.row is not None
    like = work.ledger.before(work.row) or work.row
    for pod in pods:
        stray = work.ledger.stray(like, pod, work.now())
        work.say(f"the pod {pod.pod_id} appeared late for an earlier order; it is terminated")
        if trouble := request_termination(work.provider, work.ledger, stray, work.now()):
            raise Uncertain(f"No pod is rented as long as {pod.pod_id} cannot be terminated{trouble}")


def _one_round(work: Work, public_key: str) -> list[PodError]:
    """Order each candidate once; return the reasons why none is available, or an empty list if there is a pod."""
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
    """Order one candidate; return the pods of this job that now exist: one, or by mistake several."""
    price = work.provider.usd_per_hour(candidate)
    where = f"{candidate.gpu}, {candidate.cloud.lower()} cloud, {candidate.data_center or 'anywhere'}"
    if price is None:
        raise NoCapacity(f"{where}: not available now")
    seconds = seconds_left(work)
    asked_at, booked = work.now(), price
    if work.row and work.in_doubt:  # the pod may be from the previous order, at its price
        asked_at, booked = work.row.created_at, max(price, work.row.usd_per_hour)
    row = work.ledger.book(
        work.job_id, work.row.id if work.row else None, candidate, booked, seconds, work.caps, work.now(), asked_at
    )
    work.row = next(pod for pod in work.ledger.live(work.provider.name, work.job.key) if pod.id == row)
    work.enter(State.CREATING, f"{where}, at ${price:f} an hour")
    for _ in range(_ORDERS):
        if there := find_live_pods(work):
            if work.in_doubt:
                return there
            _terminate_leftovers(work, there)
        doubted, work.in_doubt = work.in_doubt, True  # until the answer arrives
        ordered_at = work.now()
        work.ledger.ordered(row, ordered_at)
        left = (work.row.deadline - ordered_at).total_seconds()  # the first order may have taken a while
        try:
            created = work.provider.create(plan.order(work.settings, work.name, candidate, public_key, left))
        except (NoCapacity, AccessDenied, OutOfFunds, OrderRefused):
            work.in_doubt = doubted
            raise
        except Uncertain as error:
            work.say(f"the outcome of the order is unknown; searching for its pod: {error}")
            ordered_at = work.now()  # the request may have been executed at any time until now
            work.ledger.ordered(row, ordered_at)
            work.wait(POLL_PAUSE)
            if there := await_order(work, ordered_at):
                return there
            continue
        late = [pod for pod in find_live_pods(work) if pod.pod_id != created.pod_id] if doubted else []
        return [*late, created]
    raise Uncertain(f"{where}: the order failed {_ORDERS} times, and no pod of its name was found")


def _alive(work: Work) -> list[Pod]:
    pods = work.provider.find(work.name)
    return [pod for pod in pods if pod.name == work.name and pod.status is not PodStatus.ENDED]


def _final(refusals: list[PodError]) -> PodError:
    """Return the error to raise if no candidate can be ordered, even later."""
    for refusal in refusals:
        if isinstance(refusal, OverBudget):
            return refusal
    different = list(dict.fromkeys(str(refusal) for refusal in refusals))
    return OrderRefused(f"No candidate can be ordered: {' '.join(different)}"[:_MAX_CHARACTERS])


def _summary(work: Work, refusals: list[PodError]) -> PodError:
    """Return the error to raise if nothing was available for the configured time."""
    minutes = work.settings.capacity_minutes
    last = f"{len(refusals)} candidates were tried for {minutes:g} min; the last answer: {refusals[-1]}"
    if any(isinstance(refusal, NoCapacity) for refusal in refusals):
        return NoCapacity(f"No GPU is free: {last}. Try later, or add to `gpus` or `clouds` of [pods].")
    return Uncertain(f"The control plane gives no usable answer: {last}")
