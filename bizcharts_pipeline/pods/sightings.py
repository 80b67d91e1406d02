"""What the control plane's silence about a pod proves.

RunPod creates a pod and shows it later: its list and the single pod's page each learn of it on their own, seconds to
minutes after the order. Until then both say that there is no such pod, and a request to end it is refused as "not
found". So a pod that is not shown has ended only if enough looks in a row say so, and late enough:

- it was shown before, and the control plane accepted the request to end it: from that moment on;
- the request was accepted, and the pod was never shown: when the order is older than `lag_seconds` of [pods];
- no request was accepted, so that the pod vanished without us: another `_VANISHED_LAGS` times `lag_seconds` later, the
  request being repeated all the while.
"""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from bizcharts_pipeline.pods.errors import DearerThanListed, OverBudget
from bizcharts_pipeline.pods.ledger_rows import PodRow
from bizcharts_pipeline.pods.protocol import Pod, PodStatus

if TYPE_CHECKING:
    from bizcharts_pipeline.pods.work import Work

LOOKS = 3  # in a row
LOOK_PAUSE = 2.0  # seconds between them, at least
_VANISHED_LAGS = 2


def counts_from(row: PodRow, lag: timedelta) -> datetime:
    """Return the time from which on looks count that do not show the pod of ``row``."""
    if row.told_at is not None and row.seen_at is not None:
        return row.told_at
    shown_by = row.ordered_at + lag if row.ordered_at else datetime.min
    if row.pod_id is None or row.told_at is not None or row.missing_since is None:
        return shown_by
    return max(shown_by, row.missing_since) + _VANISHED_LAGS * lag


def is_gone(row: PodRow) -> bool:
    """Whether enough looks that count did not show the pod; where no order was sent, there is nothing to see."""
    return row.absences >= LOOKS or (row.pod_id is None and row.ordered_at is None)


def shown(work: "Work", pod: Pod) -> None:
    """Note that the control plane shows the pod at work, and what it charges for it.

    Raises:
        DearerThanListed: it costs more than the budget leaves.
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
            work.say(f"nobody tells what the pod {pod.pod_id} is charged; ${booked:f} an hour are booked, as listed")
    elif charged > booked:
        work.row = work.ledger.charged(work.pod.id, charged)
        work.say(f"the pod {pod.pod_id} is charged ${charged:f} an hour, more than the ${booked:f} that were booked")
        check_price(work)
    elif charged < booked and first and not work.reattached:
        # What was booked until now was only listed. A price that falls later does not change what went before.
        work.row = work.ledger.charged(work.pod.id, charged)


def check_price(work: "Work") -> None:
    """Make sure that the pod at work is within the budget at the price that it is charged.

    Raises:
        DearerThanListed: it is not.
    """
    try:
        work.ledger.check_budget(work.pod.id, work.caps, work.now())
    except OverBudget as error:
        raise DearerThanListed(
            f"The pod {work.pod_id} is charged ${work.pod.usd_per_hour:f} an hour, and is ended: {error}"
        ) from None


def has_vanished(work: "Work") -> bool:
    """Note that the control plane does not show the pod at work; return whether the pod is to be given up.

    It is given up after several looks in a row, once its order is old enough. It still counts as alive in the ledger,
    until its end is proven as that of any other pod.
    """
    work.misses += 1
    now = work.now()
    row = work.row = work.ledger.missing(work.pod.id, now, counts=False)
    assert row.missing_since is not None
    late = now >= (row.ordered_at or row.created_at) + work.lag
    return late and work.misses >= LOOKS and now - row.missing_since >= timedelta(seconds=LOOKS * LOOK_PAUSE)
