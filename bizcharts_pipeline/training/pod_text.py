"""Recipes of text models that are carried out on a pod: what comes of them is what they would have made here.

code/   what runs there (`training/onpod`), and the one package by which it speaks to Dagster
data/   spec.json, text.json (the posts to learn from), gold.json (none: the model is asked here, when it is back)
base/   the pretrained model of this machine, which the result needs on it anyway; no hub is asked
"""

import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from bizcharts_pipeline.files import write_atomically
from bizcharts_pipeline.pods.identity import job_key
from bizcharts_pipeline.pods.protocol import Finished, Job
from bizcharts_pipeline.sentiment.bases import Base
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.training.pod_job import RESULT, STAGED, code_digest, script_job, stage_code
from bizcharts_pipeline.training.recipe import Recipe, TextExample, TrainingError

REQUIREMENTS = "code/requirements-text.txt"
DISK_GB, LOCAL_DISK_GB = 20, 1  # free; the packages are 8, the largest base half a gigabyte
BASE = "base"

Run = Callable[[Job, Path], Finished]  # does a job and puts its result into a folder


class OnPod:
    """A recipe whose training is a job.

    Args:
        recipe: what it stands for.
        script: of `training/onpod`, which does the same.
        base: where the pretrained model is.
        spec: what the script is told beside base and seed.
        run: how a job is done; raises ``PodError`` where it was not.
    """

    def __init__(
        self, recipe: Recipe, script: str, base: Base, spec: Mapping[str, Any], settings: Settings, run: Run
    ) -> None:
        self.kind, self.code_version, self.settings = recipe.kind, recipe.code_version, recipe.settings
        self.base_model, self.base_revision = recipe.base_model, recipe.base_revision
        self.finished: Finished | None = None
        self._script, self._base, self._spec, self._settings, self._run = script, base, spec, settings, run

    def fit(self, examples: Sequence[TextExample], folder: Path, seed: int) -> None:
        """Train on a pod and fetch the model's files, calibration included.

        Raises:
            TrainingError: the result is not whole.
            PodError: there is none.
        """
        files = text_files({"base": BASE, "revision": None, "seed": seed, **self._spec}, examples, ())
        key = job_key(f"{self.kind} on a pod", self._base.sha256, *files.values(), code_digest())
        staged = self._settings.home_path / STAGED / key
        try:
            self._stage(staged, files)
            self.finished = finished = self._run(self._job(key, staged), staged.with_name(f"{key}{RESULT}"))
        finally:
            shutil.rmtree(staged, ignore_errors=True)
        try:
            shutil.copytree(finished.folder / "adapter", folder, dirs_exist_ok=True)
        except OSError as error:
            raise TrainingError(f"{finished.folder}: the result is not whole ({error!r:.200}); run it again") from None
        shutil.rmtree(finished.folder)

    def _stage(self, staged: Path, files: Mapping[str, bytes]) -> None:
        shutil.rmtree(staged, ignore_errors=True)
        (staged / "data").mkdir(parents=True, mode=0o700)
        for name, content in files.items():
            write_atomically(staged / "data" / name, content)
        stage_code(staged / "code")
        shutil.copytree(self._base.folder, staged / BASE)  # a hub's cache is links, which are followed

    def _job(self, key: str, staged: Path) -> Job:
        job = script_job(
            self._settings,
            key,
            staged,
            ("code", "data", BASE),
            self._script,
            requirements=REQUIREMENTS,
            least_disk_gb=DISK_GB,
            least_disk_gb_here=LOCAL_DISK_GB,
        )
        return replace(job, checkpoints=None)  # minutes


def cryptobert_on_pod(settings: Settings, run: Run) -> OnPod:
    """Return CryptoBERT's recipe, for a pod.

    Raises:
        BaseMissing: its base is not on this machine.
    """
    from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe

    values = settings.ml.training
    recipe = CryptoBertRecipe(values.cryptobert_base, values.cryptobert_revision)
    return OnPod(recipe, "train_cryptobert.py", recipe.require_base(), recipe.settings, settings, run)


def setfit_on_pod(settings: Settings, run: Run) -> OnPod:
    """Return SetFit's recipe, for a pod.

    Raises:
        BaseMissing: its base is not on this machine.
    """
    from bizcharts_pipeline.sentiment.encoder import base_shape
    from bizcharts_pipeline.training.recipes.encoders import find_encoder
    from bizcharts_pipeline.training.recipes.setfit import SetFitRecipe

    values = settings.ml.training
    recipe, base = (
        SetFitRecipe(settings.setfit_base, values.text_tokens, values.setfit_pairs),
        find_encoder(settings.setfit_base),
    )
    spec = {name: recipe.settings[name] for name in ("tokens", "pairs", "c", "rarity")}
    spec["encoder"] = asdict(base_shape(base.folder, values.text_tokens))
    return OnPod(recipe, "train_setfit.py", base, spec, settings, run)


ON_POD = {"cryptobert": cryptobert_on_pod, "setfit": setfit_on_pod}


def text_files(
    spec: Mapping[str, Any], examples: Sequence[TextExample], gold: Sequence[TextExample]
) -> dict[str, bytes]:
    """Return ``spec.json``, ``text.json`` and ``gold.json``; of gold no label goes along."""
    rows = [{"text": whole_text(each.post), "label": each.label, "group": each.group} for each in examples]
    questions = [{"thread_id": each.thread_id, "text": whole_text(each.post)} for each in gold]
    content = {"spec.json": dict(spec), "text.json": rows, "gold.json": questions}
    return {name: json.dumps(value, indent=1, sort_keys=True).encode() for name, value in content.items()}
