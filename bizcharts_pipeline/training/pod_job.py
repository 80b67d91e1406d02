"""Training on a pod, from the plan to the registered model, with the same steps for every kind of model:

    plan -> run, or adopt an earlier run's result -> verify -> register durably -> delete

    home/staged/<key>              files to send: code/, data/, …; deleted at the end of the run
    home/staged/<key>-result       the fetched and verified, paid result; deleted once the model is registered
    home/staged/<key>-unusable     quarantine: a result that cannot be registered, kept for inspection
    home/staged/<key>-registered   remains of a result that is being deleted

A kill at any moment loses nothing and pays nothing twice: the next run of the same job adopts the fetched result,
registers the same version and deletes it. A result whose model is registered is marked by a file that is deleted last.
A job with a quarantined result is refused until a person has moved or deleted that folder, because another run would be
charged again.
"""

import importlib.util
import json
import re
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from bizcharts_pipeline.core.files import read_regular, sync, write_atomically
from bizcharts_pipeline.core.ledgers import is_known
from bizcharts_pipeline.pods.identity import KEY_LENGTH
from bizcharts_pipeline.pods.ledger import FOLDERS, LEDGER, PodLedger
from bizcharts_pipeline.pods.lock import JobBusy, hold
from bizcharts_pipeline.pods.protocol import Finished, Job
from bizcharts_pipeline.sentiment.artifact import CorruptModel
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.training.recipe import BrokenResult, TrainingError

ONPOD = Path(__file__).parent / "onpod"
SETUP = "bash code/bootstrap.sh"
STAGED, RESULT, UNUSABLE, REGISTERED = "staged", "-result", "-unusable", "-registered"
REASON = "why-unusable.txt"  # in a quarantined result
MARKER = "registered.json"  # in a result whose model is registered: {"model_version"}
_BEING_SENT = re.compile(f"([0-9a-f]{{{KEY_LENGTH}}})({REGISTERED})?")

Run = Callable[[Job, Path], Finished]  # runs a job and puts its result into a folder, or returns an existing one


class Registered(Protocol):
    """A model that was registered."""

    @property
    def model_version(self) -> str:
        """The key in ``model_versions`` of a model trained on a pod."""


Model = TypeVar("Model", bound=Registered)


class ResultUnusable(TrainingError):
    """A paid result cannot be registered. It is quarantined in ``folder``; the job is refused until that is moved or
    deleted."""

    def __init__(self, message: str, folder: Path) -> None:
        super().__init__(message)
        self.folder = folder


@dataclass(frozen=True)
class PodTraining(Generic[Model]):
    """The parts of a pod training that depend on the kind of model.

    Args:
        job: the job to run on the pod.
        home: the installation's.
        register: verifies a result and registers the model durably. ``BrokenResult`` and ``CorruptModel`` mean that the
            result itself is unusable; after any other error it stays for the next run.
        find: returns a registered model by its version, or ``None``.
    """

    job: Job
    home: Path
    register: Callable[[Finished], Model]
    find: Callable[[str], Model | None]

    @property
    def into(self) -> Path:
        """The folder of the training's result."""
        return result_folder(self.home, self.job.key)


def result_folder(home: Path, key: str) -> Path:
    """Return the folder of a training job's fetched result until its model is registered."""
    return home / STAGED / f"{key}{RESULT}"


@contextmanager
def staging(home: Path, key: str) -> Iterator[Path]:
    """Yield a new folder for the files to send for a training job, locked against other processes.

    It is deleted at the end, because it holds posts and images that may be withdrawn.

    Raises:
        ResultUnusable: an earlier result of this job is quarantined.
        JobBusy: another process runs the job.
    """
    _sweep(home)
    with hold(_order(home, key)):
        _refuse_after_unusable(home / STAGED / f"{key}{UNUSABLE}", key)
        folder = home / STAGED / key
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def train_on_pod(training: PodTraining[Model], run: Run) -> tuple[Model, Finished]:
    """Run a training job within its :func:`staging`; return the registered model and the job's cost and time.

    Raises:
        PodError: there is no result.
        ResultUnusable: the result was quarantined.
        TrainingError: it could not be registered now; it stays for the next run.
    """
    if registered := _registered_before(training):
        found = Finished(training.into, pod_id="", gpu=None, usd=Decimal(0), seconds=0.0, pods=0, reattached=True)
        finished = _with_cost(found, training)
    else:
        finished = _with_cost(run(training.job, training.into), training)
        try:
            registered = training.register(finished)
        except (BrokenResult, CorruptModel) as error:
            raise _quarantine(finished.folder, training, str(error)) from None
        marker = {"model_version": registered.model_version}
        write_atomically(finished.folder / MARKER, json.dumps(marker).encode())
    _delete(finished.folder, training)
    return registered, finished


def unregistered_results(home: Path) -> list[Path]:
    """Return the folders of the results of paid trainings without a model: not yet registered, or quarantined as
    unusable."""
    return sorted(path for ending in (RESULT, UNUSABLE) for path in (home / STAGED).glob(f"*{ending}"))


def stage_code(folder: Path) -> None:
    """Copy the on-pod scripts, and the package dagster_pipes that they report with, into the new ``folder``."""
    for package, target in ((ONPOD, folder), (_package("dagster_pipes"), folder / "dagster_pipes")):
        shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))


def code_digest() -> str:
    """Return one hash over the training's files that run on the pod."""
    paths = sorted(path for path in ONPOD.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    hashes = {path.relative_to(ONPOD).as_posix(): sharegpt.digest(path.read_bytes()) for path in paths}
    return sharegpt.digest(json.dumps(hashes).encode())


def script_job(
    settings: Settings,
    key: str,
    staged: Path,
    folders: Sequence[str],
    script: str,
    *,
    requirements: str = "",
    least_disk_gb: int,
    least_disk_gb_here: int,
) -> Job:
    """Return the job that runs ``script`` of `training/onpod` on ``data/spec.json``.

    ``folders`` of ``staged`` are sent. ``requirements`` of the script, if they differ from those of the vision model,
    are installed if the settings say so. A run on this machine needs no GPU, and less disk space.

    Raises:
        TrainingError: the pods that the settings order have too small a disk.
    """
    here = settings.pod_provider == "local"
    ordered = "volume_gb" if settings.pods.volume_gb else "container_disk_gb"
    rented = settings.pod_provider == "runpod" and not settings.pods.network_volume
    if rented and getattr(settings.pods, ordered) < least_disk_gb:
        raise TrainingError(
            f"`{ordered}` of [pods] is {getattr(settings.pods, ordered)}, and this training needs {least_disk_gb} GB "
            "free: raise it. Nothing was rented."
        )
    return Job(
        key=key,
        folders={name: staged / name for name in folders},
        setup=f"{SETUP} {requirements}".rstrip() if settings.pods.bootstrap and not here else None,
        command=(sys.executable if here else "{python}", f"code/{script}", "data/spec.json"),
        environment={"PYTHONUNBUFFERED": "1", "BIZCHARTS_PYTHON": settings.pods.python},
        needs_gpu=not here,
        least_disk_gb=least_disk_gb_here if here else least_disk_gb,
    )


def _refuse_after_unusable(folder: Path, key: str) -> None:
    if not folder.exists():
        return
    try:
        reason = read_regular(folder / REASON).decode(errors="replace").strip()
    except OSError:
        reason = "no reason was kept"
    raise ResultUnusable(
        f"The paid result of the job {key} is unusable ({reason:.400}) and is kept in {folder}; to train again, at the "
        "price of another pod, move or delete that folder",
        folder,
    )


def _quarantine(result: Path, training: PodTraining[Model], reason: str) -> ResultUnusable:
    """Rename a result that cannot be registered; after a kill before that, the next run finds it unusable again."""
    unusable = training.home / STAGED / f"{training.job.key}{UNUSABLE}"
    write_atomically(result / REASON, f"{reason}\n".encode())
    result.rename(unusable)
    sync(unusable.parent)
    return ResultUnusable(
        f"The paid result is unusable and nothing was registered: {reason:.400}. It is kept in {unusable}; to train "
        "again, at the price of another pod, move or delete that folder",
        unusable,
    )


def _registered_before(training: PodTraining[Model]) -> Model | None:
    """Return the model of a result that a killed run had registered but not completely deleted."""
    try:
        version = json.loads(read_regular(training.into / MARKER))["model_version"]
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None
    return training.find(str(version))


def _delete(result: Path, training: PodTraining[Model]) -> None:
    """Delete a registered result; its marker is deleted last, after the folder is renamed."""
    for path in result.iterdir():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.name != MARKER:
            path.unlink()
    doomed = training.home / STAGED / f"{training.job.key}{REGISTERED}"
    shutil.rmtree(doomed, ignore_errors=True)
    result.rename(doomed)
    sync(doomed.parent)
    shutil.rmtree(doomed, ignore_errors=True)


def _order(home: Path, key: str) -> Path:
    """Return the folder of the lock that a run holds while it has files staged for a job."""
    return home / FOLDERS / key / "order"


def _sweep(home: Path) -> None:
    """Delete the folders that killed runs were staging or deleting.

    Results without a model stay, because the pod time for them was paid.
    """
    for left in (home / STAGED).glob("*"):
        if named := _BEING_SENT.fullmatch(left.name):
            # A run takes this lock before its first staged file, and that of the pod only later.
            with suppress(JobBusy), hold(_order(home, named[1])):
                shutil.rmtree(left, ignore_errors=True)


def _with_cost(finished: Finished, training: PodTraining[Model]) -> Finished:
    """Return ``finished`` with the cost and time of its pods from the ledger, if an earlier run had paid for them."""
    if finished.pods:
        return finished
    ledger = PodLedger(training.home / LEDGER)
    rows = [row for row in ledger.pods() if row.key == training.job.key] if is_known(ledger.path) else []
    rows = [row for row in rows if row.job == rows[-1].job]
    if not rows:
        return finished
    ends = [row.ended_at or row.deadline for row in rows]
    return replace(
        finished,
        pod_id=rows[-1].pod_id or "",
        gpu=finished.gpu or rows[-1].gpu,
        usd=ledger.spent(job=rows[-1].job).usd,
        seconds=(max(ends) - rows[0].created_at).total_seconds(),
        pods=len(rows),
    )


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found  # a dependency of dagster
    assert found.origin
    return Path(found.origin).parent
