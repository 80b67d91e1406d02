"""A pod's life, from the plan to its end; read it from the top to the bottom.

PLANNED -> CREATING -> BOOTING -> PREFLIGHT -> STAGING -> RUNNING -> COLLECTING -> RELEASING -> RELEASED; LOST and
ORPHAN are the failure states (`states.py` has the table). Whatever happens, a pod that was created is ended and seen to
be gone; if that cannot be done, it is an ORPHAN in the ledger, which the reaper ends.

What a killed run leaves behind, the next run of the same job finds: a pod at work is taken over, its log and messages
read from their start; a result that was fetched and verified is used, and its pod ended; anything else is ended.
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
from bizcharts_pipeline.pods.latecomers import look_around
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
_DENIALS = 5  # in a row, while a pod boots
# After these a checkpoint may itself be what is wrong.
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
    """Do a job on a pod, or on several one after the other, and fetch its result.

    Args:
        into: folder in which the result is put, whole or not at all; it must not be there yet. Where a killed run had
            fetched the result already, that folder is returned instead.
        now: a clock that runs: every time-out is measured by it.
        run_id: of whoever runs this, for the ledger and the reaper.
        checkpoint_minutes: how often a checkpoint is fetched, for another pod to resume from.

    Raises:
        PodError: there is no result; its class and message say why, its ``retry`` whether the same may work later.
    """
    folder = ledger.folder(job.key)
    with hold(folder):
        every = timedelta(minutes=checkpoint_minutes)
        work = Work(job, provider, ledger, settings, listener, into, now, sleep, run_id, every)
        work.between_polls = lambda: look_around(work)
        try:
            result = _result(work)
        except LocalDiskError:
            raise  # the job stays open: the next run takes its pod over
        except PodError as error:
            _close(work, error.reason if isinstance(error, JobFailed) else type(error).__name__)
            if isinstance(error, JobFailed) and error.reason in _SPOILT:
                shutil.rmtree(work.checkpoint, ignore_errors=True)
            raise
        except BaseException as interruption:
            if work.row is not None:  # a second signal came before its pod was told to end
                release(work)
            _close(work, type(interruption).__name__)
            raise
        _close(work, "finished")
        shutil.rmtree(work.checkpoint, ignore_errors=True)
        return _finished(work, result)


def _result(work: Work) -> Path:
    """Return the folder of the verified result; every pod has ended by then."""
    if fetched := plan(work):
        return fetched
    pods_before = len(work.ledger.pods(work.job_id)) - (work.row is not None)
    for number in range(pods_before + 1, work.settings.most_pods + 1):
        try:
            return _one_pod(work)
        except PodError as failure:
            if number == work.settings.most_pods or not _another_may_help(work, failure):
                raise
            work.say(f"pod {number} of at most {work.settings.most_pods} brought no result: {failure}")
    raise PodLost(f"This job has used its {work.settings.most_pods} pods (`most_pods` of [pods])")


def _one_pod(work: Work) -> Path:
    """Do the job on one pod, the one that was taken over or a new one, and end that pod in any case."""
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
        work.candidate += 1  # the next search begins with another one
        raise
    except Cancelled:
        _tell(work, remote.cancel)
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
    """Leave the pod as it is, at work or with its finished result, until its lease ends; return what to tell users."""
    lease = timedelta(minutes=work.settings.lease_minutes)
    paid = "The training goes on" if work.state is State.RUNNING else "The finished result is still"
    message = (
        f"{error}. {paid} on the pod {work.pod_id}, which is kept (and costs money) for "
        f"{work.settings.lease_minutes:g} min: make room on this machine and start the same job again"
    )
    with suppress(Exception):  # what tells the user may be what fails
        work.say(message)
    until = min(work.now() + lease, work.pod.deadline)
    try:
        kept.keep(work.folder, until)
    except OSError:  # what arrived of the result has filled the disk: the note matters more
        remote.discard(work.into)
        with suppress(OSError):
            kept.keep(work.folder, until)
    work.forget_pod()
    return LocalDiskError(message)


def _pod_is_worth_keeping(work: Work, error: Exception) -> bool:
    """Whether this machine is at fault and the pod holds what was paid for: a training at work, if the disk cannot be
    written; a finished result also if, say, the run's log fails for whatever reason."""
    if isinstance(error, PodError):
        return work.state is State.RUNNING and isinstance(error, LedgerNotWritable)
    return work.state is State.COLLECTING or (work.state is State.RUNNING and is_of_disk(error))


def _another_may_help(work: Work, failure: PodError) -> bool:
    """Whether to go on with another pod after a failure; never beside one that could not be ended."""
    return (
        isinstance(failure, BadHost | PodLost | JobFailed | DearerThanListed)
        and failure.retry
        and not work.left_behind
        and seconds_left(work) > 0
    )


def _boot(work: Work) -> None:
    """BOOTING: wait until a command runs on the pod. That it is said to run means that it is wanted to.

    Raises:
        BadHost: it was not to be reached in time, or ended before it was.
        PodLost: it was reset since a run before us reached it.
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
        except AccessDenied as error:  # now and then the control plane refuses a key that it knows
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
    """Log in to the pod as the control plane describes it now; return why that cannot be done yet, or ''."""
    lost = PodLost if work.launched else BadHost
    if pod is None:
        if sightings.has_vanished(work):
            raise lost(f"The control plane does not show the pod {work.pod_id}, and nobody here ended it")
        return "the control plane does not show it yet"
    sightings.shown(work, pod)
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
    """PREFLIGHT: see whether the machine can do the job.

    Raises:
        BadHost: it cannot.
        PodLost: the link was lost for too long.
    """
    work.enter(State.PREFLIGHT, "looking at the machine")
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
    """STAGING: bring code, data and the last checkpoint onto the pod, and start the job. Both may be done twice.

    Raises:
        BadHost: the machine did not take it.
        PodLost: the link was lost for too long.
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
        raise BadHost(f"The pod {work.pod_id} did not take the job: {error}") from error
    work.ledger.launched(work.pod.id)
    work.launched = True


def _collect(work: Work) -> Path:
    """COLLECTING: fetch the result, every file verified, and only then tell the pod that it may go.

    Raises:
        JobFailed: the job ended well and left no result.
        PodLost: the pod was lost before all of it was here.
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
        raise JobFailed(f"The job ended well, but its result cannot be fetched: {error}", "no result") from error
    _tell(work, remote.confirm)
    with suppress(OSError):
        kept.forget(work.folder)
    return work.into


def _tell(work: Work, what: Callable[[Transport, str], None]) -> None:
    """Tell the pod something that its end makes unnecessary if it does not arrive."""
    if work.transport is not None and work.launched:
        with suppress(PodError):
            what(work.transport, work.root)


def _finished(work: Work, folder: Path) -> Finished:
    pods = work.ledger.pods(work.job_id)
    did_it = [pod for pod in pods if pod.launched][-1]
    ends = [pod.ended_at for pod in pods if pod.ended_at is not None] or [work.now()]
    return Finished(
        folder=folder,
        pod_id=did_it.pod_id or "",
        gpu=did_it.gpu,
        usd=work.ledger.spent(job=work.job_id).usd,
        seconds=(max(ends) - pods[0].created_at).total_seconds(),
        pods=len(pods),
        reattached=work.reattached,
    )


def _close(work: Work, outcome: str) -> None:
    """Note how the job ended; if it never got beyond its plan, what an earlier run left is still to be looked for."""
    if work.undertaken is not None and work.state is not State.PLANNED:
        work.ledger.close(work.job_id, outcome, work.now())
