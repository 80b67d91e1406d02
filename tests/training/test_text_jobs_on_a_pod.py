"""Text models trained by a job: run as a pod runs it, from folders alone, and what comes back is used here."""

import json
import os
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bizcharts_pipeline.pods.protocol import Finished, Job
from bizcharts_pipeline.sentiment.artifact import model_path, new_model
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.training import onpod
from bizcharts_pipeline.training.onpod.bert_lora import LoraSettings
from bizcharts_pipeline.training.pod_text import OnPod, setfit_on_pod, text_files
from bizcharts_pipeline.training.recipe import Recipe, TextExample, TrainingError
from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe
from bizcharts_pipeline.training.registry import fit_and_publish

if not os.environ.get("CI"):
    pytest.importorskip("peft")

from tiny_roberta import make_base, toy_examples

QUICK = LoraSettings(epochs=12, learning_rate=5e-3, dropout=0.0, batch=16)
UNSEEN = toy_examples(60, 7)


class Pod:
    """Does jobs in a folder of its own, without this package on its path."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.jobs: list[Job] = []
        self.said: set[str] = set()

    def __call__(self, job: Job, into: Path) -> Finished:
        self.jobs.append(job)
        for name, folder in job.folders.items():
            shutil.copytree(folder, self.root / name)
        done = run_on_pod(self.root, *job.command[1:], **job.environment)
        assert done.returncode == 0, done.stderr
        messages = [json.loads(line) for line in done.stdout.splitlines()]
        assert all("step" in message for message in messages if message["kind"] == "metrics")  # as a run reads them
        self.said |= {message["kind"] for message in messages}
        shutil.copytree(self.root / job.result, into)
        return Finished(into, "pod", None, Decimal(0), 0.0, 1, False)


def run_on_pod(root: Path, *command: str, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **more}
    return subprocess.run(
        [sys.executable, *command], cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False
    )


def trained(recipe: Recipe, examples: list[TextExample], home: Path) -> tuple[float, np.ndarray]:
    """Return the accuracy on unseen posts of what a recipe makes, and its probabilities for them."""
    artifact = fit_and_publish(recipe, examples, "toy", home, seed=1)
    scorer = load_scorer(model_path(home, artifact.model_version), artifact.sha256)
    said = np.array([[s.p_bearish, s.p_neutral, s.p_bullish] for s in scorer.score([each.post for each in UNSEEN])])
    return float((said.argmax(1) == [example.label for example in UNSEEN]).mean()), said


@pytest.mark.usefixtures("_one_thread")
def test_cryptobert_from_a_pod_is_what_it_would_have_been_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, pod = make_base(tmp_path / "tiny"), Pod(tmp_path / "pod")
    monkeypatch.setenv("BIZCHARTS_ML__TRAINING__CRYPTOBERT_BASE", str(base))
    settings = Settings(home=tmp_path / "home", pod_provider="local")
    here = CryptoBertRecipe(str(base), lora=QUICK)
    there = OnPod(here, "train_cryptobert.py", here.require_base(), here.settings, settings, pod)
    accuracy, said = trained(there, toy_examples(200, 1), tmp_path / "home")
    assert accuracy > 0.8
    assert {"metrics", "done"} <= pod.said
    assert np.abs(said - trained(here, toy_examples(200, 1), tmp_path / "home")[1]).max() < 1e-5
    assert not list((tmp_path / "home" / "staged").iterdir())


def test_setfit_from_a_pod_works_here(tmp_path: Path) -> None:
    values = {"training": {"text_tokens": 16, "setfit_pairs": 32}}
    pod = Pod(tmp_path / "pod")
    settings = Settings(home=tmp_path / "home", pod_provider="local", ml=values)
    assert trained(setfit_on_pod(settings, pod), toy_examples(60, 1), tmp_path / "home")[0] > 0.8
    assert {"tuned", "done"} <= pod.said


def test_a_rented_pod_gets_its_own_packages_and_no_hub_token(tmp_path: Path) -> None:
    jobs: list[Job] = []

    def nothing(job: Job, into: Path) -> Finished:
        jobs.append(job)
        into.mkdir(parents=True)
        return Finished(into, "pod", "a GPU", Decimal(0), 0.0, 1, False)

    settings = Settings(home=tmp_path / "home", pod_provider="runpod")
    for seed in (1, 1, 2):
        with new_model(tmp_path / "home") as folder, pytest.raises(TrainingError, match="not whole"):
            setfit_on_pod(settings, nothing).fit(toy_examples(30, 1), folder, seed)
        shutil.rmtree(tmp_path / "home" / "staged")
    assert [job.key == jobs[0].key for job in jobs] == [True, True, False]
    assert jobs[0].needs_gpu
    assert not jobs[0].secrets
    assert jobs[0].setup == "bash code/bootstrap.sh code/requirements-text.txt"
    assert (Path(str(onpod.__file__)).parent / "requirements-text.txt").is_file()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spec.json": b"{"}, "cannot be read"),
        ({"text.json": b"[]"}, "different posts of class 0"),
        ({"gold.json": b'[{"thread_id": 1, "text": "a", "label": 2}]'}, "gold is marked elsewhere"),
    ],
)
def test_a_bad_specification_or_bad_data_ends_with_a_status_of_its_own(
    tmp_path: Path, change: dict[str, bytes], says: str
) -> None:
    shutil.copytree(Path(str(onpod.__file__)).parent, tmp_path / "code")
    (tmp_path / "data").mkdir()
    files = text_files({"base": "nobody/nothing", "revision": None, "seed": 1}, toy_examples(40, 1), UNSEEN)
    for name, content in (files | change).items():
        (tmp_path / "data" / name).write_bytes(content)
    done = run_on_pod(tmp_path, "code/train_cryptobert.py", "data/spec.json")
    assert done.returncode == 6
    assert says in done.stderr
    assert not (tmp_path / "output").exists()


@pytest.fixture
def _one_thread() -> None:
    import torch

    torch.set_num_threads(1)
