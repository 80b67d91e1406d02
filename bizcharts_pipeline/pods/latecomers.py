"""Terminates unexpected further pods of a running job: an order may be executed twice, or minutes after it seemed to
fail.

They are searched for by name while the job runs, every third of `lag_seconds` of [pods] in the first minutes after the
order and every six times `lag_seconds` later. The job's own pod is never touched.
"""

from bizcharts_pipeline.pods import sightings
from bizcharts_pipeline.pods.ending import request_termination
from bizcharts_pipeline.pods.errors import PodError
from bizcharts_pipeline.pods.names import is_made_here
from bizcharts_pipeline.pods.protocol import Pod
from bizcharts_pipeline.pods.work import Work

_EARLY, _LATER, _EARLY_ENDS = 1 / 3, 6, 10  # times `lag_seconds`


def find_further_pods(work: Work) -> None:
    """If it is time, search for further pods of the job, terminate them, and update the price of the job's own pod.

    Raises:
        DearerThanListed: the pod's actual price exceeds the remaining budget.
    """
    if work.row is None or work.row.pod_id is None or (work.next_search and work.now() < work.next_search):
        return
    lag = work.lag
    age = work.now() - (work.pod.ordered_at or work.pod.created_at)
    work.next_search = work.now() + lag * (_EARLY if age < _EARLY_ENDS * lag else _LATER)
    try:
        pods = [pod for pod in work.provider.find(work.name) if pod.name == work.name]
    except PodError:
        return  # the next search may succeed; RELEASING searches again in any case
    for pod in pods:
        if pod.pod_id == work.pod_id:
            sightings.record_listed(work, pod)
    terminate_others(work, [pod for pod in pods if pod.pod_id != work.pod_id])


def terminate_others(work: Work, others: list[Pod]) -> None:
    """Book further pods of the job and request their termination; it is verified in RELEASING."""
    for other in others:
        known = {row.pod_id for row in work.ledger.live(work.provider.name, work.job.key)}
        if other.pod_id not in known and not is_made_here(other.name):
            continue  # another installation may use a name of an earlier version too
        stray = work.ledger.stray(work.pod, other, work.now())
        if other.pod_id not in known:
            work.say(f"this job has a second pod: {work.pod_id} is kept, {other.pod_id} is terminated")
        trouble = request_termination(work.provider, work.ledger, stray, work.now())
        if trouble:
            work.say(f"the termination of the second pod {other.pod_id} failed and will be retried{trouble}")
