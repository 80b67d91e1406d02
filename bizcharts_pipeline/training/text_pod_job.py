"""Pod jobs that train text models, with the same result as their recipes on this machine.

code/   the on-pod scripts (`training/onpod`), and dagster_pipes, which they report with
data/   spec.json, text.json (the training posts), gold.json (empty: gold is scored on this machine afterwards)
base/   the pretrained model of this machine, which the result needs here too; no hub is contacted
"""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.files import write_atomically
from bizcharts_pipeline.pods.identity import job_key
from bizcharts_pipeline.pods.protocol import Job
from bizcharts_pipeline.sentiment.bases import Base
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.training.onpod import checks
from bizcharts_pipeline.training.pod_job import code_digest, script_job, stage_code, staging
from bizcharts_pipeline.training.recipe import Recipe, TextExample, TrainingError
from bizcharts_pipeline.training.text_set import TextSet

REQUIREMENTS = "code/requirements-text.txt"
DISK_GB, LOCAL_DISK_GB = 20, 1  # free; the packages take 8, the largest base half a gigabyte
BASE = "base"


@dataclass(frozen=True)
class TextScript:
    """Training script of a kind of text model on a pod."""

    recipe: Recipe  # the recipe that the script reproduces
    script: str  # of `training/onpod`
    base: Base  # the pretrained model to send
    spec: Mapping[str, Any]  # further parameters of the script


@dataclass(frozen=True)
class TextTraining:
    """The job, and the data needed to register its result."""

    job: Job
    recipe: Recipe
    text_set: TextSet
    seed: int


@contextmanager
def text_training(script: TextScript, text_set: TextSet, settings: Settings) -> Iterator[TextTraining]:
    """Yield the training of a text model; its folders exist until the end of the block.

    Raises:
        TrainingError: the script would refuse the posts; names the threads.
        ResultUnusable: an earlier result of the same job is quarantined.
        JobBusy: another process runs the job.
    """
    home, seed = settings.home_path, settings.ml.training.seed
    files = text_files({"base": BASE, "revision": None, "seed": seed, **script.spec}, text_set.examples, ())
    require_acceptable(text_set.examples, files)
    recipe = script.recipe
    known = (text_set.dataset_version, script.base.sha256)
    key = job_key(f"{recipe.kind} on a pod", *known, *files.values(), code_digest())

    with staging(home, key) as staged:
        for name, content in files.items():
            write_atomically(staged / "data" / name, content)
        stage_code(staged / "code")
        shutil.copytree(script.base.folder, staged / BASE)  # follows the symbolic links of a hub's cache
        yield TextTraining(_job(settings, key, staged, script.script), recipe, text_set, seed)


def _job(settings: Settings, key: str, staged: Path, script: str) -> Job:
    job = script_job(
        settings,
        key,
        staged,
        ("code", "data", BASE),
        script,
        requirements=REQUIREMENTS,
        least_disk_gb=DISK_GB,
        least_disk_gb_here=LOCAL_DISK_GB,
    )
    return replace(job, checkpoints=None)  # takes only minutes


def cryptobert_script(settings: Settings) -> TextScript:
    """Return the training script of CryptoBERT.

    Raises:
        BaseMissing: its base is not on this machine.
    """
    from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe

    values = settings.ml.training
    recipe = CryptoBertRecipe(values.cryptobert_base, values.cryptobert_revision)
    return TextScript(recipe, "train_cryptobert.py", recipe.require_base(), recipe.settings)


def setfit_script(settings: Settings) -> TextScript:
    """Return the training script of SetFit.

    Raises:
        BaseMissing: its base is not on this machine.
    """
    from bizcharts_pipeline.sentiment.encoder import base_shape
    from bizcharts_pipeline.training.recipes.encoders import find_encoder
    from bizcharts_pipeline.training.recipes.setfit import BITS, SetFitRecipe

    values = settings.ml.training
    recipe, base = (
        SetFitRecipe(settings.setfit_base, values.text_tokens, values.setfit_pairs),
        find_encoder(settings.setfit_base),
    )
    spec = {name: recipe.settings[name] for name in ("tokens", "pairs", "c", "rarity")}
    spec["encoder"] = asdict(base_shape(base.folder, values.text_tokens, BITS))
    return TextScript(recipe, "train_setfit.py", base, spec)


SCRIPTS: Mapping[str, Callable[[Settings], TextScript]] = {"cryptobert": cryptobert_script, "setfit": setfit_script}


def text_files(
    spec: Mapping[str, Any], examples: Sequence[TextExample], gold: Sequence[TextExample]
) -> dict[str, bytes]:
    """Return the files of a text model's training, ``spec.json``, ``text.json`` and ``gold.json``; gold has no
    labels."""
    rows = [{"text": whole_text(each.post), "label": each.label, "group": each.group} for each in examples]
    questions = [{"thread_id": each.thread_id, "text": whole_text(each.post)} for each in gold]
    content = {"spec.json": dict(spec), "text.json": rows, "gold.json": questions}
    return {name: json.dumps(value, indent=1, sort_keys=True).encode() for name, value in content.items()}


def require_acceptable(examples: Sequence[TextExample], files: Mapping[str, bytes]) -> None:
    """Check with the training script's own check that it will accept the files.

    Raises:
        TrainingError: it would refuse them; names the threads and the reasons.
    """
    rows = json.loads(files["text.json"])
    problems = [
        f"thread {example.thread_id}: {why}"
        for example, row in zip(examples, rows, strict=True)
        if (why := checks.text_row_problem(row))
    ]
    if not problems and (why := checks.class_problem(rows)):
        problems = [why]
    if problems:
        raise TrainingError(
            f"The training script would refuse the posts, so no pod is rented: {'; '.join(problems[:20])}; label more, "
            "or correct these"
        )
