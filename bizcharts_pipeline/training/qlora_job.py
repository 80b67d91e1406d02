"""The pod job that trains the vision-language model.

    code/   the on-pod scripts (`training/onpod`), and dagster_pipes, which they report with
    data/   spec.json, dataset/ (the ShareGPT folder), gold/ (questions and images of the gold posts)

If the settings say so and the champion is such an adapter, the training starts from it and ``dataset`` is a part of the
data set (:mod:`.continued`); ``data/parent`` has the adapter.

The gold posts are sent without their labels: the pod scores them, and the scores are evaluated here. For a gold post
whose image cannot be shown to a model only the text is sent; without text either, it is left out of this evaluation.
"""

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.files import link, write_atomically
from bizcharts_pipeline.pods.identity import job_key
from bizcharts_pipeline.pods.protocol import Job
from bizcharts_pipeline.settings import Settings, TrainingSettings
from bizcharts_pipeline.text.question import question, readable
from bizcharts_pipeline.training import sharegpt
from bizcharts_pipeline.training.continued import Continued, can_continue, continued
from bizcharts_pipeline.training.examples import usable_images
from bizcharts_pipeline.training.gold_set import GoldSet, load_gold_set
from bizcharts_pipeline.training.onpod_checks import job_problems
from bizcharts_pipeline.training.pod_job import (
    code_digest,
    result_folder,
    script_job,
    stage_code,
    staging,
)
from bizcharts_pipeline.training.recipe import TrainingError
from bizcharts_pipeline.training.text_set import NothingToLearn
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import DatasetVersion, current_dataset
from bizcharts_pipeline.warehouse.models import champion, learned_at

ASSET = "qlora_adapter"
SCRIPT = "train_qwen.py"
HUB_TOKEN = "HF_TOKEN"
LOCAL_DISK_GB, POD_DISK_GB = 5, 40  # free; a base of 7 billion weights is 17 GB, the packages 8
MAX_NAMED_PROBLEMS = 20
_SPEC = (
    *("seed", "quantise", "rank", "alpha", "dropout", "targets", "freeze_vision", "epochs", "learning_rate"),
    *("batch", "accumulate", "balance", "min_pixels", "max_pixels", "patience"),
)


@dataclass(frozen=True)
class GoldQuestions:
    """The gold posts as questions, without labels."""

    rows: tuple[Mapping[str, Any], ...]  # thread_id, question, images
    images: Mapping[str, Path]  # by their name in the staged folder
    by_text_alone: Mapping[int, str]  # by thread: why its image is not sent
    not_asked: Mapping[int, str]  # by thread: why it is left out

    @property
    def asked(self) -> frozenset[int]:
        """The threads of the gold posts that the training's script is asked about."""
        return frozenset(int(row["thread_id"]) for row in self.rows)


@dataclass(frozen=True)
class QloraTraining:
    """The job, and the data needed to verify and register its result."""

    job: Job
    spec: Mapping[str, Any]
    dataset: DatasetVersion
    dataset_folder: Path  # the staged copy
    gold: GoldQuestions
    code_version: str
    continued: Continued | None  # None: it starts from the base, on the whole data set

    @property
    def start(self) -> str:
        """What the training starts from, and what it shows, in words."""
        if self.continued is None:
            return f"the base, on {counted(self.dataset.train_rows, 'post')}"
        part = self.continued
        return (
            f"{part.parent.model_version}, on {counted(part.new, 'new post')} and {counted(part.replayed, 'old one')}"
        )


@contextmanager
def qlora_training(database: Database, home: Path, settings: Settings) -> Iterator[QloraTraining]:
    """Yield the training of the vision model on the current data set; its folders exist until the end of the block.

    Raises:
        NothingToLearn: no data set was made, it was removed since, or it has nothing new for a continued training.
        TrainingError: the on-pod script would refuse a row, an image or a setting; names the threads.
        ResultUnusable: an earlier result of the same job is quarantined.
        JobBusy: another process runs the job.
    """
    with database.read() as connection:
        dataset, present, learned = current_dataset(connection), champion(connection), learned_at(connection)
    if dataset is None or not (home / dataset.path).is_dir():
        raise NothingToLearn("There is no data set to train on; materialise sharegpt_dataset first")
    spec = training_spec(settings.vlm_base, settings.ml.training)
    part = None
    continual = settings.ml.continual
    if continual.continue_adapter and present and can_continue(present, settings.vlm_base, spec):
        known = learned[present.model_version]
        part = continued(present, known, home, home / dataset.path, continual, spec["seed"])
        spec |= {"parent": present.model_version, "revision": spec["revision"] or present.base_revision}
    gold = gold_questions(load_gold_set(database, home), home)
    content = json.dumps(spec, indent=1, sort_keys=True).encode()
    files = {"spec.json": content, "gold/gold.json": sharegpt.as_json(gold.rows)}
    code_version = code_digest()[:12]
    shown = tuple(part.files.values()) if part else ()
    key = job_key(ASSET, dataset.dataset_version, *files.values(), *shown, code_version)
    with staging(home, key) as staged:
        folder = _stage(staged, home / dataset.path, files, gold.images, part, home)
        if not result_folder(home, key).is_dir():
            _require_acceptable(staged / "data")
        job = script_job(
            settings,
            key,
            staged,
            ("code", "data"),
            SCRIPT,
            least_disk_gb=POD_DISK_GB,
            least_disk_gb_here=LOCAL_DISK_GB,
        )
        yield QloraTraining(replace(job, secrets=(HUB_TOKEN,)), spec, dataset, folder, gold, code_version, part)


def training_spec(base: str, training: TrainingSettings) -> dict[str, Any]:
    """Return the content of ``spec.json``, the specification of the vision model's training."""
    return {
        "base": base,
        "revision": training.vlm_revision or None,
        **training.model_dump(mode="json", include=set(_SPEC)),
        "parent": None,
        "resume": "resume",
    }


def gold_questions(gold: GoldSet, home: Path) -> GoldQuestions:
    """Return the gold posts as questions for the vision model's training, and the reasons why some lack their image or
    are left out."""
    usable = usable_images(gold.posts, home)
    images: dict[str, Path] = {}
    rows, by_text_alone, not_asked = [], {}, {}
    for post in gold.posts:
        text, image = readable(post.subject, post.text), usable[post.thread_id]
        if not text and image.path is None:
            not_asked[post.thread_id] = f"no text, and {image.reason}"
            continue
        named = {}
        if image.path and post.picture:
            named = {f"{sharegpt.IMAGES}/{post.picture.sha256}{image.path.suffix}": image.path}
        elif image.refused:
            by_text_alone[post.thread_id] = image.reason
        images |= named
        prompt = question(text, picture=image.path is not None)
        rows.append({"thread_id": post.thread_id, "question": prompt, "images": list(named)})
    return GoldQuestions(tuple(rows), images, by_text_alone, not_asked)


def _require_acceptable(data: Path) -> None:
    if not (problems := job_problems(data)):
        return
    more = f"; and {len(problems) - MAX_NAMED_PROBLEMS} more" if len(problems) > MAX_NAMED_PROBLEMS else ""
    raise TrainingError(
        f"The training script would refuse the data ({counted(len(problems), 'problem')}), so no pod is rented: "
        f"{'; '.join(problems[:MAX_NAMED_PROBLEMS])}{more}. Materialise sharegpt_dataset again, or correct the setting"
    )


def _stage(
    staged: Path,
    dataset: Path,
    files: Mapping[str, bytes],
    images: Mapping[str, Path],
    part: Continued | None,
    home: Path,
) -> Path:
    (staged / "data" / "gold" / sharegpt.IMAGES).mkdir(parents=True, mode=0o700)
    stage_code(staged / "code")
    if part:
        part.stage(dataset, home, staged / "data")
    else:
        shutil.copytree(dataset, staged / "data" / "dataset", copy_function=link)
    for name, image in images.items():
        link(image, staged / "data" / "gold" / name)
    for name, content in files.items():
        write_atomically(staged / "data" / name, content)
    return staged / "data" / "dataset"
