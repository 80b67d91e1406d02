"""Operations on a reachable pod: preflight check, staging, launch, polls, and fetching the result.

The layout of a job's folder is described in `onpod/supervisor.py`. Every function can be repeated after an
interruption.
"""

import json
import os
import shlex
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.blanking import blank_text
from bizcharts_pipeline.core.clock import from_epoch
from bizcharts_pipeline.core.files import TEMPORARY_PREFIX, write_atomically
from bizcharts_pipeline.pods import drivers, manifest
from bizcharts_pipeline.pods.errors import (
    BadHost,
    JobFailed,
    LinkLost,
    PodError,
    PodLost,
    TransferError,
    WrongSetting,
)
from bizcharts_pipeline.pods.local_disk import storing
from bizcharts_pipeline.pods.protocol import Job, Transport
from bizcharts_pipeline.pods.transport import CommandFailed

Progress = Callable[[], None]  # called while bytes are transferred
RESUME = "resume"  # folder below the job's folder: the checkpoint to resume from
SALVAGED = "checkpoint"  # folder for the checkpoint of a job without a result
_SUPERVISOR = Path(__file__).parent / "onpod" / "supervisor.py"
_PYTHON = "supervisor-python"  # file with the Python that runs it
_GONE = 90  # exit status chosen here: the job's folder does not exist
_LOG_TAIL_BYTES = 4_000_000
_WORKSPACE = (
    'w=${BIZCHARTS_WORKSPACE:-/workspace}; { mkdir -p "$w" 2>/dev/null && [ -w "$w" ]; } '
    '|| { w=$HOME/workspace; mkdir -p "$w"; }'
)
_FACTS = f"""
{_WORKSPACE}
printf 'workspace=%s\\n' "$w"
printf 'free_kb=%s\\n' "$(df -Pk "$w" | tail -n 1 | awk '{{print $4}}')"
printf 'rsync=%s\\n' "$(command -v rsync)"
gpus=$(timeout 60 nvidia-smi --query-gpu=name,driver_version --format=csv,noheader 2>/dev/null)
printf 'gpu=%s\\n' "$(printf '%s' "$gpus" | head -n 1)"
"""


def _no_progress() -> None:
    """Ignore progress."""


@dataclass(frozen=True)
class HostFacts:
    """Properties of a machine."""

    workspace: str  # folder for jobs, absolute
    gpu: str | None
    driver: str | None  # its version
    disk_free_gb: float
    has_rsync: bool


@dataclass(frozen=True)
class Exit:
    """Result of a job. ``reason``: 'exited', 'setup', 'killed', 'max_runtime', 'lease' or 'cancelled'."""

    code: int | None  # negative: killed by this signal; None: unknown
    reason: str
    ended_at: datetime  # by the pod's clock


@dataclass(frozen=True)
class Poll:
    """Result of one poll. ``exit`` is set once messages and log have been delivered completely."""

    messages: bytes
    log: bytes
    exit: Exit | None
    alive: bool  # the supervisor is running; if neither alive nor ended, it was killed, and the job with it
    last_output: int | None  # changes with each output, even if a full log does not grow; not usable as a time


def preflight(transport: Transport, *, needs_gpu: bool, least_disk_gb: int, cuda: Sequence[str] = ()) -> HostFacts:
    """Check the machine of a pod and return its properties. If a GPU is needed, its driver must support one of the
    CUDA versions ``cuda`` (empty: any).

    Raises:
        BadHost: the GPU is missing or does not respond, its driver is too old, or the disk is too small.
    """
    said = blank_text(transport.run(_FACTS, timeout_seconds=90))
    facts = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    try:
        gpu, _, driver = facts["gpu"].partition(",")
        free = int(facts["free_kb"]) * 1024 / 1e9
        found = HostFacts(facts["workspace"], gpu.strip() or None, driver.strip() or None, free, bool(facts["rsync"]))
    except (KeyError, ValueError):
        raise BadHost(f"The host's answer to the preflight check is incomplete: {said[-300:]!r}") from None
    if needs_gpu and found.gpu is None:
        raise BadHost("nvidia-smi shows no GPU on the host")
    branch = drivers.min_branch(cuda)
    if needs_gpu and branch is not None and drivers.is_older(found.driver, branch):
        wanted = " or ".join(cuda)
        raise BadHost(f"The host's driver is {found.driver}; CUDA {wanted} (`cuda` of [pods]) needs {branch} or newer")
    if found.disk_free_gb < least_disk_gb:
        raise BadHost(f"{found.workspace} has {found.disk_free_gb:.1f} GB free, the job needs {least_disk_gb}")
    return found


def stage(transport: Transport, root: str, job: Job, resume: Path | None, progress: Progress = _no_progress) -> None:
    """Send to the pod the job's folders, the supervisor and a checkpoint to resume from; all files are verified at the
    target.

    Raises:
        TransferError: a file did not arrive unchanged.
        BadHost: the disk is full.
    """
    transport.run(f"umask 077; mkdir -p {shlex.quote(root)}")
    for name, folder in (job.folders | {RESUME: resume} if resume else job.folders).items():  # type: ignore[operator]
        transport.push(folder, f"{root}/{name}", progress)
    _write(transport, f"{root}/supervisor.py", _SUPERVISOR.read_bytes())


def launch(
    transport: Transport, root: str, job: Job, *, python: str, max_runtime_seconds: float, lease_seconds: float
) -> None:
    """Start the job on the pod in the background, unless it is running or has ended.

    ``python`` runs the supervisor on the pod, and also the job, unless its setup writes another one to the file
    ``environment-python``. Secrets are sent on stdin to a file that the supervisor deletes after reading.

    Raises:
        WrongSetting: the pod has no such Python.
    """
    order = {
        "setup": job.setup,
        "command": list(job.command),
        "environment": dict(job.environment),
        "python": python,
        "max_runtime_seconds": max_runtime_seconds,
        "lease_seconds": lease_seconds,
        "result": job.result,
        "checkpoints": job.checkpoints,
    }
    secrets = {name: os.environ[name] for name in job.secrets if os.environ.get(name)}
    _write(transport, f"{root}/job.json", json.dumps(order).encode())
    _write(transport, f"{root}/secrets.json", json.dumps(secrets).encode())
    _write(transport, f"{root}/{_PYTHON}", python.encode())
    try:
        _supervisor(transport, root, "launch")
    except CommandFailed as error:
        if error.status in (126, 127):
            raise WrongSetting(
                f"The pod cannot run {python!r}, the `python` of [pods]; set it to a Python in the pod's image: "
                f"{error.stderr[-300:]}"
            ) from None
        raise


def poll(transport: Transport, root: str, messages_offset: int, log_offset: int) -> Poll:
    """Renew the lease of the job on the pod and return its status and its output after the offsets, about a megabyte
    of each.

    Raises:
        PodLost: the job's folder does not exist: the container was reset.
        LinkError: retry with the same offsets.
    """
    answer = _supervisor(transport, root, f"poll {messages_offset} {log_offset}")
    line, _, content = answer.partition(b"\n")
    try:
        header = json.loads(line)
        messages, log = int(header["messages"]), int(header["log"])
        ended, last = header["exit"], header["last_output"]
        end = Exit(ended["code"], str(ended["reason"]), from_epoch(ended["ended_at"])) if ended else None
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        raise LinkLost(f"The supervisor's answer is malformed: {blank_text(line)[:200]!r}") from None
    if len(content) != messages + log:
        raise LinkLost(f"The supervisor announced {messages + log} bytes and sent {len(content)}")
    return Poll(content[:messages], content[messages:], end, bool(header["alive"]), last)


def cancel(transport: Transport, root: str) -> None:
    """Request the job on the pod to stop; a poll shows when it has."""
    _supervisor(transport, root, "cancel")


def renew(transport: Transport, root: str) -> None:
    """Renew the lease of the job on the pod, as every poll does."""
    transport.run(f"touch {shlex.quote(f'{root}/lease')}", timeout_seconds=20)


def collect(transport: Transport, root: str, result: str, into: Path, progress: Progress = _no_progress) -> None:
    """Fetch the result of a successful job from the pod; ``into`` holds all of it, verified, or is not changed.

    Raises:
        JobFailed: there is no result.
        TransferError: a file did not arrive unchanged.
        LocalDiskError: this machine cannot store it.
    """
    answer = _json(transport.run(f"cat {shlex.quote(f'{root}/manifest.json')}"))
    wanted = manifest.parse(answer)
    if not wanted:
        raise JobFailed(f"The job succeeded, but its folder {result!r} is empty", "no result")
    _fetch(transport, f"{root}/{result}", wanted, into, progress)


def confirm(transport: Transport, root: str) -> None:
    """Tell the supervisor that the result is safe; it then terminates the pod, if nothing else does before."""
    transport.run(f"touch {shlex.quote(f'{root}/collected')}")


def fetch_checkpoint(transport: Transport, root: str, into: Path, progress: Progress = _no_progress) -> bool:
    """Fetch from the pod the content of the newest complete checkpoint; return whether ``into`` holds it now.

    The earlier content of ``into`` is replaced once the new one is verified. ``False``: there is no checkpoint yet, or
    the job deleted it meanwhile.
    """
    answer = _json(_supervisor(transport, root, "checkpoint", timeout_seconds=600))
    wanted = manifest.parse(answer)
    name = answer["name"] if isinstance(answer, dict) else None
    if not wanted or not isinstance(name, str) or not manifest.is_plain(name):
        return False
    try:
        _fetch(transport, f"{root}/{name}", wanted, into, progress)
    except TransferError:
        return False
    return True


def salvage(
    transport: Transport,
    root: str,
    into: Path,
    progress: Progress = _no_progress,
    mask: Callable[[bytes], bytes] = bytes,
) -> None:
    """Save from the pod the end of the log, the exit status and the newest checkpoint of a job without a result.

    Parts that cannot be fetched are left out without an error. ``mask`` removes secrets from the saved log.
    """
    fetched: Mapping[str, Callable[[], bytes]] = {
        name: partial(transport.run, f"tail -c {_LOG_TAIL_BYTES} {shlex.quote(f'{root}/{name}')}")
        for name in ("train.log", "state.json", "exit.json")
    }
    for name, fetch in fetched.items():
        try:
            write_atomically(into / name, mask(fetch()))
        except PodError:
            continue
    try:
        fetch_checkpoint(transport, root, into / SALVAGED, progress)
    except PodError:
        return


def _fetch(
    transport: Transport, source: str, wanted: manifest.Manifest, into: Path, progress: Progress = _no_progress
) -> None:
    """Fetch a folder next to ``into``, verify it, and rename it to ``into``. Files that are already there are not
    fetched again."""
    with storing(into):
        if into.is_dir() and _is_exactly(into, wanted):
            return
        part = _part(into)
        transport.pull(source, part, progress)
        if wrong := manifest.differing(part, wanted):
            for path in wrong:
                if manifest.is_plain(path):
                    (part / path).unlink(missing_ok=True)
            transport.pull(source, part, progress)
            if wrong := manifest.differing(part, wanted):
                raise TransferError(f"{len(wrong)} files of {source} arrived damaged, such as {wrong[0]:.80}")
        for found in [found for found in part.rglob("*") if not found.is_dir()]:
            if found.relative_to(part).as_posix() not in wanted:
                found.unlink()
        if into.exists():
            shutil.rmtree(into)
        part.replace(into)


def discard(into: Path) -> None:
    """Delete the partial download of a pod's folder that is being fetched to ``into``; the next attempt fetches all of
    it."""
    shutil.rmtree(_part(into), ignore_errors=True)


def _part(into: Path) -> Path:
    return into.parent / f"{TEMPORARY_PREFIX}{into.name}"


def _is_exactly(folder: Path, wanted: manifest.Manifest) -> bool:
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if not path.is_dir()}
    return there == set(wanted) and not manifest.differing(folder, wanted)


def _supervisor(transport: Transport, root: str, verb: str, timeout_seconds: float = 60) -> bytes:
    """Run a command of the supervisor; arguments after the folder follow in ``verb``."""
    name, _, rest = verb.partition(" ")
    there = shlex.quote(root)
    command = (
        f"cd {there} 2>/dev/null && [ -f supervisor.py ] && [ -f {_PYTHON} ] || exit {_GONE}; "
        f'"$(cat {_PYTHON})" -I supervisor.py {name} {there} {rest}'
    )
    try:
        return transport.run(command, timeout_seconds=timeout_seconds)
    except CommandFailed as error:
        if error.status == _GONE:
            raise PodLost(f"{root} no longer exists on the pod: its container was reset") from None
        raise


def _write(transport: Transport, path: str, content: bytes) -> None:
    """Write a small file, readable by its owner only, atomically."""
    name, part = shlex.quote(path), shlex.quote(f"{path}.part")
    transport.run(
        f"umask 077; cat > {part} && [ $(wc -c < {part}) = {len(content)} ] && mv -f {part} {name}", stdin=content
    )


def _json(answer: bytes) -> Any:
    try:
        return json.loads(answer)
    except (ValueError, RecursionError):
        raise TransferError(f"The pod's answer is not JSON: {blank_text(answer)[:200]!r}") from None
