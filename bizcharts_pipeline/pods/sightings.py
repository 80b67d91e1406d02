"""Decides when a pod's absence from the control plane's answers proves its termination.

RunPod creates a pod and lists it later: its list and the single pod's page are updated independently, seconds to
minutes after the order. Until then both report that the pod does not exist, and a termination request is refused as
"not found". So an unlisted pod counts as terminated only after enough consecutive polls without it, and late enough:

- it was listed before, and the termination request was accepted: from then on;
- the request was accepted, and the pod was never listed: when the order is older than `lag_seconds` of [pods];
- no request was accepted, so the pod vanished by itself: `_VANISHED_LAGS` times `lag_seconds` later, with the request
  repeated meanwhile.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bizcharts_pipeline.pods.errors import DearerThanListed, OverBudget
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import Pod, PodStatus

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.work import Work

POLLS = 3  # consecutive polls
POLL_PAUSE = 2.0  # minimum seconds between them
_VANISHED_LAGS = 2


def counts_from(row: PodRow, lag: timedelta) -> datetime:
    """Return the time from which polls without the pod of ``row`` count."""
    if row.told_at is not None and row.seen_at is not None:
        return row.told_at
    shown_by = row.ordered_at + lag if row.ordered_at else datetime.min
    if row.pod_id is None or row.told_at is not None or row.missing_since is None:
        return shown_by
    return max(shown_by, row.missing_since) + _VANISHED_LAGS * lag


def is_gone(row: PodRow) -> bool:
    """Return whether enough counting polls did not list the pod of ``row``; without a sent order, there is no pod."""
    return row.absences >= POLLS or (row.pod_id is None and row.ordered_at is None)


def record_listed(work: "Work", pod: Pod) -> None:
    """Record that the control plane lists the current pod, and its price.

    Raises:
        DearerThanListed: it costs more than the remaining budget.
    """
    work.misses = 0
    if work.pod.seen_at is None or work.pod.missing_since is not None:
        work.row = work.ledger.seen(work.pod.id, work.now())
    booked, charged = work.pod.usd_per_hour, pod.usd_per_hour
    first = pod.status is PodStatus.RUNNING and work.priced != pod.pod_id
    if first:
        work.priced = pod.pod_id
    if charged is None:
        if first and booked:
            work.say(f"the actual price of the pod {pod.pod_id} is unknown; the listed ${booked:f} an hour are booked")
    elif charged > booked:
        work.row = work.ledger.charged(work.pod.id, charged)
        work.say(f"the pod {pod.pod_id} costs ${charged:f} an hour, more than the booked ${booked:f}")
        check_price(work)
    elif charged < booked and first and not work.reattached:
        # The price booked so far was only the listed one. A later price cut does not apply to the past.
        work.row = work.ledger.charged(work.pod.id, charged)


def check_price(work: "Work") -> None:
    """Check that the current pod is within the budget at its actual price.

    Raises:
        DearerThanListed: it is not.
    """
    try:
        work.ledger.check_budget(work.pod.id, work.caps, work.now())
    except OverBudget as error:
        raise DearerThanListed(
            f"The pod {work.pod_id} costs ${work.pod.usd_per_hour:f} an hour, and is terminated: {error}"
        ) from None


def has_vanished(work: "Work") -> bool:
    """Record that the control plane does not list the current pod; return whether to give the pod up.

    It is given up after several consecutive polls without it, once its order is old enough. In the ledger it counts as
    alive until its termination is proven, like any other pod.
    """
    work.misses += 1
    now = work.now()
    row = work.row = work.ledger.missing(work.pod.id, now, counts=False)
    assert row.missing_since is not None
    late = now >= (row.ordered_at or row.created_at) + work.lag
    return late and work.misses >= POLLS and now - row.missing_since >= timedelta(seconds=POLLS * POLL_PAUSE)
