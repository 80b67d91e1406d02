"""The job that trains the vision-language model: what is sent to the machine with the GPU.

    code/   what runs there (`training/onpod`), and the one package by which it speaks to Dagster
    data/   spec.json, dataset/ (the ShareGPT folder), gold/ (questions and pictures of the gold posts)

The gold posts travel without their labels: the pod answers them, and is marked here. The folder is made of hard links
and is gone when the run is over, for it holds posts and pictures that may be withdrawn.
"""

import importlib.util
import json
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from bizcharts_pipeline.files import link, write_atomically
from bizcharts_pipeline.pods.identity import job_key
from bizcharts_pipeline.pods.ledger import FOLDERS
from bizcharts_pipeline.pods.lock import JobBusy, hold
from bizcharts_pipeline.pods.protocol import Finished, Job
from bizcharts_pipeline.sentiment.artifact import CorruptModel
from bizcharts_pipeline.settings import Settings, TrainingSettings
from bizcharts_pipeline.text.question import question, readable
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.training.examples import usable_picture
from bizcharts_pipeline.training.gold_set import GoldSet, load_gold_set
from bizcharts_pipeline.training.recipe import TrainingError
from bizcharts_pipeline.training.registry import REPORT, SCORES, Registered, register_adapter
from bizcharts_pipeline.training.text_set import NothingToLearn
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import DatasetVersion, current_dataset

ASSET, KIND = "qlora_adapter", "qlora"
SCRIPT = "train_qwen.py"
SETUP = "bash code/bootstrap.sh"
HUB_TOKEN = "HF_TOKEN"
STAGED, RESULT, UNUSABLE = "staged", "-result", "-unusable"  # below the home: what is being sent, what was fetched
ONPOD = Path(__file__).parent / "onpod"
LOCAL_DISK_GB, POD_DISK_GB = 5, 40  # free; a base of 7 billion weights is 17 GB, the packages 8
_SPEC = (
    *("seed", "quantise", "rank", "alpha", "dropout", "targets", "freeze_vision", "epochs", "learning_rate"),
    *("batch", "accumulate", "balance", "min_pixels", "max_pixels", "patience"),
)


@dataclass(frozen=True)
class QloraJob:
    """A job, and what the model that it trains is made of."""

    job: Job
    dataset: DatasetVersion
    dataset_folder: Path  # as it was sent
    spec: Mapping[str, Any]
    code_version: str
    gold_version: str
    asked: frozenset[int]  # the gold posts whose questions were sent

    @property
    def into(self) -> Path:
        """Where its result is put: beside the folder of what is sent."""
        return self.dataset_folder.parents[2] / f"{self.job.key}{RESULT}"


def register(
    order: QloraJob, finished: Finished, database: Database, home: Path, now: datetime, run_id: str
) -> Registered:
    """Register the adapter that a pod brought, with what it said of the gold posts.

    A result that can not be used is put aside, so that the next run does not take it again; it is there to be looked
    at until then.

    Raises:
        TrainingError: the result is not whole, or not all of gold was answered.
        CorruptModel: the adapter has a file of a kind that is not loaded.
    """
    try:
        return _register(order, finished, database, home, now, run_id)
    except (TrainingError, CorruptModel):
        aside = finished.folder.with_name(f"{order.job.key}{UNUSABLE}")
        shutil.rmtree(aside, ignore_errors=True)
        finished.folder.rename(aside)
        raise


def _register(
    order: QloraJob, finished: Finished, database: Database, home: Path, now: datetime, run_id: str
) -> Registered:
    try:
        report = json.loads((finished.folder / REPORT).read_bytes())
        revision, gpu = report["revision"], report["gpu"]
        answered = {row["thread_id"] for row in json.loads((finished.folder / SCORES).read_bytes())["gold"]}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{finished.folder}: the result can not be read ({error!r:.200}); run it again") from None
    if missing := order.asked - answered:  # nobody chooses by what he is judged
        raise TrainingError(f"{finished.folder}: {len(missing)} of {len(order.asked)} gold posts were not answered")
    return register_adapter(
        finished.folder,
        order.dataset_folder,
        kind=KIND,
        base_model=order.spec["base"],
        base_revision=revision,
        dataset_version=order.dataset.dataset_version,
        code_version=order.code_version,
        seed=order.spec["seed"],
        settings={name: value for name, value in order.spec.items() if name not in ("base", "revision", "resume")},
        database=database,
        home=home,
        now=now,
        seconds=finished.seconds or None,
        usd=finished.usd if finished.pods else None,
        gpu=finished.gpu or gpu,
        run_id=run_id,
    )


@contextmanager
def qlora_job(database: Database, home: Path, settings: Settings) -> Iterator[QloraJob]:
    """Yield the job for the current data set; the folders that it names are there until the end of the block.

    Raises:
        NothingToLearn: no data set was made, or it was removed since.
    """
    with database.read() as connection:
        dataset = current_dataset(connection)
    if dataset is None or not (home / dataset.path).is_dir():
        raise NothingToLearn("There is no data set to train on; materialise sharegpt_dataset first")
    spec = training_spec(settings.vlm_base, settings.ml.training)
    gold = load_gold_set(database, home)
    questions, pictures = _gold_questions(gold, home)
    asked = frozenset(int(row["thread_id"]) for row in questions)
    content = json.dumps(spec, indent=1, sort_keys=True).encode()
    files = {"spec.json": content, "gold/gold.json": sharegpt.as_json(questions)}
    code_version = code_digest()[:12]
    key = job_key(ASSET, dataset.dataset_version, *files.values(), code_version)
    staged = home / STAGED / key
    _sweep(home)
    try:
        folder = _stage(staged, home / dataset.path, files, pictures)
        job = script_job(
            settings,
            key,
            staged,
            ("code", "data"),
            SCRIPT,
            least_disk_gb=POD_DISK_GB,
            least_disk_gb_here=LOCAL_DISK_GB,
        )
        job = replace(job, secrets=(HUB_TOKEN,))
        yield QloraJob(job, dataset, folder, spec, code_version, gold.gold_version, asked)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def stage_code(folder: Path) -> None:
    """Copy what runs on a pod into the new ``folder``, and the package by which it speaks to Dagster."""
    for package, target in ((ONPOD, folder), (_package("dagster_pipes"), folder / "dagster_pipes")):
        shutil.copytree(package, target, ignore=shutil.ignore_patterns("__pycache__"))


def training_spec(base: str, training: TrainingSettings) -> dict[str, Any]:
    """Return what the script is to do."""
    return {
        "base": base,
        "revision": training.vlm_revision or None,
        **training.model_dump(mode="json", include=set(_SPEC)),
        "resume": "resume",
    }


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

    ``folders`` of ``staged`` go along. ``requirements`` of the script, if they are not those of the vision model, are
    installed where the settings say so. This machine needs no GPU, and less of its disk.
    """
    here = settings.pod_provider == "local"
    return Job(
        key=key,
        folders={name: staged / name for name in folders},
        setup=f"{SETUP} {requirements}".rstrip() if settings.pods.bootstrap and not here else None,
        command=(sys.executable if here else "{python}", f"code/{script}", "data/spec.json"),
        environment={"PYTHONUNBUFFERED": "1", "BIZCHARTS_PYTHON": settings.pods.python},
        needs_gpu=not here,
        least_disk_gb=least_disk_gb_here if here else least_disk_gb,
    )


def _gold_questions(gold: GoldSet, home: Path) -> tuple[list[dict[str, Any]], dict[str, Path]]:
    """Return the gold posts as questions without labels, and their pictures by name."""
    pictures: dict[str, Path] = {}
    questions = []
    for post in gold.posts:
        text, (picture, _) = readable(post.subject, post.text), usable_picture(post, home)
        if not text and picture is None:
            continue
        named = (
            {f"{sharegpt.IMAGES}/{post.picture.sha256}{picture.suffix}": picture} if post.picture and picture else {}
        )
        pictures |= named
        asked = question(text, picture=picture is not None)
        questions.append({"thread_id": post.thread_id, "question": asked, "images": list(named)})
    return questions, pictures


def _stage(staged: Path, dataset: Path, files: Mapping[str, bytes], pictures: Mapping[str, Path]) -> Path:
    shutil.rmtree(staged, ignore_errors=True)
    (staged / "data" / "gold" / sharegpt.IMAGES).mkdir(parents=True, mode=0o700)
    stage_code(staged / "code")
    shutil.copytree(dataset, staged / "data" / "dataset", copy_function=link)
    for name, picture in pictures.items():
        link(picture, staged / "data" / "gold" / name)
    for name, content in files.items():
        write_atomically(staged / "data" / name, content)
    return staged / "data" / "dataset"


def _sweep(home: Path) -> None:
    """Remove what killed runs had staged; a result that was fetched was paid for, and stays."""
    for left in (home / STAGED).glob("*"):
        if left.name.endswith(RESULT):
            continue
        with suppress(JobBusy), hold(home / FOLDERS / left.name):
            shutil.rmtree(left, ignore_errors=True)


def _package(name: str) -> Path:
    found = importlib.util.find_spec(name)
    assert found  # a dependency of dagster
    assert found.origin
    return Path(found.origin).parent


def code_digest() -> str:
    """Return one hash over the files that run on the pod."""
    paths = sorted(path for path in ONPOD.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    hashes = {path.relative_to(ONPOD).as_posix(): sharegpt.digest(path.read_bytes()) for path in paths}
    return sharegpt.digest(json.dumps(hashes).encode())
