"""The life cycle of a job's pods, in the order of its states.

PLANNED -> CREATING -> BOOTING -> PREFLIGHT -> STAGING -> RUNNING -> COLLECTING -> RELEASING -> RELEASED; LOST and
ORPHAN are the failure states (`states.py` has the table). A created pod is always terminated, and its termination
verified; if that fails, it is an ORPHAN in the ledger, which the reaper terminates.

The next run of a job handles the state left by a killed run: it re-attaches to a running pod and reads its log and
messages from their start; it uses a result that was fetched and verified, and terminates its pod; it terminates any
other pod.
"""

import shutil
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.pods import kept, remote, sightings
from bizcharts_pipeline.pods.creating import create, seconds_left
from bizcharts_pipeline.pods.ending import release
from bizcharts_pipeline.pods.errors import (
    AccessDenied,
    BadHost,
    Cancelled,
    DearerThanListed,
    HostChanged,
    JobFailed,
    LedgerNotWritable,
    LinkError,
    LocalDiskError,
    PodError,
    PodLedgerError,
    PodLost,
    Uncertain,
)
from bizcharts_pipeline.pods.latecomers import find_further_pods
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.local_disk import is_of_disk, storing
from bizcharts_pipeline.pods.lock import hold
from bizcharts_pipeline.pods.plan import end_of_training
from bizcharts_pipeline.pods.planned import has_files, plan
from bizcharts_pipeline.pods.protocol import Finished, Job, Listener, Pod, PodStatus, Provider, State, Transport
from bizcharts_pipeline.pods.remote import HostFacts
from bizcharts_pipeline.pods.transport import CommandFailed
from bizcharts_pipeline.pods.watching import watch
from bizcharts_pipeline.pods.work import Work
from bizcharts_pipeline.settings import PodSettings

_LOGIN_SECONDS = 20.0
_DENIALS = 5  # consecutive, while a pod boots
# After these, the checkpoint itself may be the cause.
_SPOILT = frozenset({"failed", "diverged", "no result"})


def run_job(
    job: Job,
    provider: Provider,
    ledger: PodLedger,
    settings: PodSettings,
    listener: Listener,
    into: Path,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    *,
    run_id: str = "",
    checkpoint_minutes: float = 10,
) -> Finished:
    """Run a job on a pod, or on several in turn, and fetch its result.

    Args:
        into: folder that receives the result, atomically; it must not exist. If a killed run had already fetched
            the result, that folder is returned instead.
        now: monotonic clock for all time-outs.
        run_id: id of the calling run, for the ledger and the reaper.
        checkpoint_minutes: interval at which a checkpoint is fetched, for another pod to resume from.

    Raises:
        PodError: there is no result; class and message give the reason, ``retry`` whether a retry may succeed.
    """
    folder = ledger.folder(job.key)
    with hold(folder):
        every = timedelta(minutes=checkpoint_minutes)
        work = Work(job, provider, ledger, settings, listener, into, now, sleep, run_id, every)
        work.between_polls = lambda: find_further_pods(work)
        try:
            result = _result(work)
        except LocalDiskError:
            raise  # the job stays open: the next run re-attaches to its pod
        except PodError as error:
            _close(work, error.reason if isinstance(error, JobFailed) else type(error).__name__)
            if isinstance(error, JobFailed) and error.reason in _SPOILT:
                shutil.rmtree(work.checkpoint, ignore_errors=True)
            raise
        except BaseException as interruption:
            if work.row is not None:  # a second signal came before its pod was terminated
                release(work)
            _close(work, type(interruption).__name__)
            raise
        _close(work, "finished")
        shutil.rmtree(work.checkpoint, ignore_errors=True)
        return _finished(work, result)


def _result(work: Work) -> Path:
    """Return the folder of the verified result, after all pods are terminated."""
    if fetched := plan(work):
        return fetched
    pods_before = len(work.ledger.pods(work.job_id)) - (work.row is not None)
    for number in range(pods_before + 1, work.settings.most_pods + 1):
        try:
            return _run_on_one_pod(work)
        except PodError as failure:
            if number == work.settings.most_pods or not _another_pod_may_help(work, failure):
                raise
            work.say(f"pod {number} of at most {work.settings.most_pods} returned no result: {failure}")
    raise PodLost(f"This job has used its {work.settings.most_pods} pods (`most_pods` of [pods])")


def _run_on_one_pod(work: Work) -> Path:
    """Run the job on one pod, re-attached or new, and terminate that pod in any case."""
    try:
        if work.row is None:
            create(work)
        _boot(work)
        if not work.launched:
            _stage(work, _preflight(work))
        kept.reserve(work.folder)
        watch(work)
        return _collect(work)
    except PodLost as lost:
        work.enter(State.LOST, str(lost))
        raise
    except (BadHost, DearerThanListed) as error:
        if work.row is not None and isinstance(error, BadHost):
            work.ledger.bad_host(work.row.id)
        work.candidate += 1  # the next search starts with another candidate
        raise
    except Cancelled:
        _send_message(work, remote.cancel)
        raise
    except LocalDiskError as error:
        raise _keep_pod(work, error) from error
    except Exception as error:
        if not _pod_is_worth_keeping(work, error):
            raise
        here = LocalDiskError(f"This machine fails ({type(error).__name__}: {str(error)[:200]})")
        raise _keep_pod(work, here) from error
    finally:
        if work.row is not None:
            release(work)


def _keep_pod(work: Work, error: LocalDiskError) -> LocalDiskError:
    """Leave the pod, running or with its finished result, until its lease ends; return the error with the message for
    users."""
    lease = timedelta(minutes=work.settings.lease_minutes)
    paid = "The training continues" if work.state is State.RUNNING else "The finished result is still"
    message = (
        f"{error}. {paid} on the pod {work.pod_id}, which is kept (and costs money) for "
        f"{work.settings.lease_minutes:g} min: free disk space on this machine and start the same job again"
    )
    with suppress(Exception):  # the listener itself may be failing
        work.say(message)
    until = min(work.now() + lease, work.pod.deadline)
    try:
        kept.keep(work.folder, until)
    except OSError:  # partial result data fills the disk, and the marker is more important
        remote.discard(work.into)
        with suppress(OSError):
            kept.keep(work.folder, until)
    work.forget_pod()
    return LocalDiskError(message)


def _pod_is_worth_keeping(work: Work, error: Exception) -> bool:
    """Return whether this machine is at fault and the pod holds paid results: a running training, if the disk cannot be
    written; a finished result, after any failure that is not the pod's."""
    if isinstance(error, PodError):
        return work.state is State.RUNNING and isinstance(error, LedgerNotWritable)
    return work.state is State.COLLECTING or (work.state is State.RUNNING and is_of_disk(error))


def _another_pod_may_help(work: Work, failure: PodError) -> bool:
    """Return whether to continue with another pod after a failure; never while a previous pod could not be
    terminated."""
    return (
        isinstance(failure, BadHost | PodLost | JobFailed | DearerThanListed)
        and failure.retry
        and not work.left_behind
        and seconds_left(work) > 0
    )


def _boot(work: Work) -> None:
    """BOOTING: wait until a command runs on the pod. The control plane's status RUNNING is only the desired state.

    Raises:
        BadHost: it could not be reached in time, or ended before that.
        PodLost: it was reset since an earlier run reached it.
    """
    work.enter(State.BOOTING, f"waiting for the pod {work.pod_id} ({work.pod.gpu or 'no GPU named'})")
    until = min(work.now() + timedelta(minutes=work.settings.boot_minutes), work.pod.deadline)
    last = "no answer from the control plane"
    denials = 0
    while work.now() < until:
        try:
            pod = work.provider.get(work.pod_id)
            denials = 0
        except Uncertain as error:
            last = str(error)
        except AccessDenied as error:  # the control plane occasionally refuses a valid key
            denials += 1
            if denials > _DENIALS:
                raise
            last = str(error)
        else:
            last = _try_to_reach(work, pod)
            if not last:
                work.heard_at = work.now()
                return
        work.poll_pause()
    minutes = work.settings.boot_minutes
    raise BadHost(f"The pod {work.pod_id} could not be reached in {minutes:g} min (boot_minutes of [pods]): {last}")


def _try_to_reach(work: Work, pod: Pod | None) -> str:
    """Log in to the pod at its current address; return why that is not possible yet, or ''."""
    lost = PodLost if work.launched else BadHost
    if pod is None:
        if sightings.has_vanished(work):
            raise lost(f"The control plane no longer lists the pod {work.pod_id}, which was not terminated here")
        return "the control plane does not list it yet"
    sightings.record_listed(work, pod)
    if pod.status is PodStatus.ENDED:
        raise lost(f"The pod {work.pod_id} ended by itself before it could be reached")
    if pod.status is not PodStatus.RUNNING or pod.address is None:
        return "it has no public port yet"
    try:
        work.connect(pod).run("true", timeout_seconds=_LOGIN_SECONDS)
    except HostChanged as error:
        raise PodLost(f"The pod {work.pod_id} was reset: {error}") from error
    except LinkError as error:
        return str(error) or type(error).__name__
    return ""


def _preflight(work: Work) -> HostFacts:
    """PREFLIGHT: check that the machine can run the job.

    Raises:
        BadHost: it cannot.
        PodLost: the connection was lost for too long.
    """
    work.enter(State.PREFLIGHT, "checking the machine")
    job = work.job
    try:
        facts = work.over_link(
            lambda transport: remote.preflight(
                transport, needs_gpu=job.needs_gpu, least_disk_gb=job.least_disk_gb, cuda=work.settings.cuda
            )
        )
    except CommandFailed as error:
        raise BadHost(f"The machine of the pod {work.pod_id} cannot be examined: {error}") from error
    work.say(f"GPU {facts.gpu or 'none'}, driver {facts.driver or 'none'}, {facts.disk_free_gb:.0f} GB free")
    return facts


def _stage(work: Work, facts: HostFacts) -> None:
    """STAGING: copy code, data and the last checkpoint to the pod, and start the job. Both are idempotent.

    Raises:
        BadHost: copying or starting failed on the machine.
        PodLost: the connection was lost for too long.
    """
    root = f"{facts.workspace}/bizcharts/{work.name}-{work.pod_id}"
    work.row = work.ledger.staging(work.pod.id, root, facts.gpu)
    resume = work.checkpoint if has_files(work.checkpoint) else None
    work.enter(State.STAGING, "copying code and data" + (", and a checkpoint to resume from" if resume else ""))
    try:
        work.over_link(lambda transport: remote.stage(transport, root, work.job, resume, work.progress_over(transport)))
        ends = end_of_training(work.pod.created_at, work.pod.deadline)
        work.over_link(
            lambda transport: remote.launch(
                transport,
                root,
                work.job,
                python=work.settings.python,
                max_runtime_seconds=max((ends - work.now()).total_seconds(), 1.0),
                lease_seconds=work.settings.lease_minutes * 60,
            )
        )
    except CommandFailed as error:
        raise BadHost(f"The pod {work.pod_id} could not start the job: {error}") from error
    work.ledger.launched(work.pod.id)
    work.launched = True


def _collect(work: Work) -> Path:
    """COLLECTING: fetch the result, verify every file, and only then release the pod.

    Raises:
        JobFailed: the job succeeded but left no result.
        PodLost: the pod was lost before the result was complete here.
        LocalDiskError: this machine cannot store it.
    """
    try:
        work.enter(State.COLLECTING, f"fetching the result into {work.into}")
        work.ledger.collecting(work.job_id, work.into)
    except PodLedgerError as error:
        raise LocalDiskError(str(error)) from error
    try:
        with storing(work.into):
            work.into.parent.mkdir(parents=True, exist_ok=True)
            work.over_link(
                lambda transport: remote.collect(
                    transport, work.root, work.job.result, work.into, work.progress_over(transport)
                )
            )
    except CommandFailed as error:
        raise JobFailed(f"The job succeeded, but its result cannot be fetched: {error}", "no result") from error
    _send_message(work, remote.confirm)
    with suppress(OSError):
        kept.forget(work.folder)
    return work.into


def _send_message(work: Work, what: Callable[[Transport, str], None]) -> None:
    """Send the pod a message that does not matter if it is lost, as the pod is terminated afterwards."""
    if work.transport is not None and work.launched:
        with suppress(PodError):
            what(work.transport, work.root)


def _finished(work: Work, folder: Path) -> Finished:
    pods = work.ledger.pods(work.job_id)
    last_pod = [pod for pod in pods if pod.launched][-1]
    ends = [pod.ended_at for pod in pods if pod.ended_at is not None] or [work.now()]
    return Finished(
        folder=folder,
        pod_id=last_pod.pod_id or "",
        gpu=last_pod.gpu,
        usd=work.ledger.spent(job=work.job_id).usd,
        seconds=(max(ends) - pods[0].created_at).total_seconds(),
        pods=len(pods),
        reattached=work.reattached,
    )


def _close(work: Work, outcome: str) -> None:
    """Record the job's outcome. A job still in PLANNED stays open, so that the remains of an earlier run are found
    again."""
    if work.job_row is not None and work.state is not State.PLANNED:
        work.ledger.close(work.job_id, outcome, work.now())
