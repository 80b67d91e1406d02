"""Text models trained by a job: run as a pod runs it, from folders alone, and what comes back is used here."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from bizcharts_pipeline.models.pod_results import registered_as_text_model
from bizcharts_pipeline.models.registry import Registered, fit_and_publish
from bizcharts_pipeline.pods.protocol import Finished, Job
from bizcharts_pipeline.sentiment.artifact import model_path
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.settings import Settings
from bizcharts_pipeline.training import onpod
from bizcharts_pipeline.training.onpod.bert_lora import LoraSettings
from bizcharts_pipeline.training.pod_job import ResultUnusable, Run, train_on_pod
from bizcharts_pipeline.training.recipe import Recipe, TextExample, TrainingError
from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe
from bizcharts_pipeline.training.text_pod_job import TextScript, setfit_script, text_files, text_training
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

if not os.environ.get("CI"):
    pytest.importorskip("peft")

from labelled_world import NOW
from tiny_roberta import make_base, toy_examples
from training.gate_world import of

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


def asked(home: Path, model_version: str, sha256: str) -> tuple[float, np.ndarray]:
    """Return a model's accuracy on unseen posts, and its probabilities for them."""
    scorer = load_scorer(model_path(home, model_version), sha256)
    said = np.array([[s.p_bearish, s.p_neutral, s.p_bullish] for s in scorer.score([each.post for each in UNSEEN])])
    return float((said.argmax(1) == [example.label for example in UNSEEN]).mean()), said


def trained_here(recipe: Recipe, examples: list[TextExample], home: Path) -> tuple[float, np.ndarray]:
    artifact = fit_and_publish(recipe, examples, "toy", home, seed=1)
    return asked(home, artifact.model_version, artifact.sha256)


def trained_there(script: TextScript, examples: list[TextExample], settings: Settings, run: Run) -> Registered:
    database = DatabaseFile(settings.home_path / "test.duckdb")
    with text_training(script, of(examples), settings) as order:
        return train_on_pod(registered_as_text_model(order, database, settings.home_path, NOW, "run"), run)[0]


def on_pod(script: TextScript, examples: list[TextExample], settings: Settings, pod: Pod) -> tuple[float, np.ndarray]:
    row = trained_there(script, examples, settings, pod).model
    assert row.sha256
    return asked(settings.home_path, row.model_version, row.sha256)


@pytest.mark.slow
@pytest.mark.usefixtures("_one_thread")
def test_cryptobert_from_a_pod_is_what_it_would_have_been_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, pod = make_base(tmp_path / "tiny"), Pod(tmp_path / "pod")
    monkeypatch.setenv("BIZCHARTS_ML__TRAINING__CRYPTOBERT_BASE", str(base))  # the scorer looks there
    values = {"training": {"cryptobert_base": str(base), "seed": 1}}
    settings = Settings(home=tmp_path / "home", pod_provider="local", ml=values)
    here = CryptoBertRecipe(str(base), lora=QUICK)
    there = TextScript(here, "train_cryptobert.py", here.require_base(), here.settings)
    accuracy, said = on_pod(there, toy_examples(200, 1), settings, pod)
    assert accuracy > 0.8
    assert {"metrics", "done"} <= pod.said
    assert np.abs(said - trained_here(here, toy_examples(200, 1), tmp_path / "home")[1]).max() < 1e-5
    assert not list((tmp_path / "home" / "staged").iterdir())


@pytest.mark.slow
def test_setfit_from_a_pod_works_here(tmp_path: Path) -> None:
    values = {"training": {"text_tokens": 16, "setfit_pairs": 32}}
    pod = Pod(tmp_path / "pod")
    settings = Settings(home=tmp_path / "home", pod_provider="local", ml=values)
    assert on_pod(setfit_script(settings), toy_examples(60, 1), settings, pod)[0] > 0.8
    assert {"tuned", "done"} <= pod.said


def test_a_rented_pod_gets_its_own_packages_and_no_hub_token(tmp_path: Path) -> None:
    jobs: list[Job] = []

    def nothing(job: Job, into: Path) -> Finished:
        jobs.append(job)
        into.mkdir(parents=True)
        return Finished(into, "pod", "a GPU", Decimal(0), 0.0, 1, False)

    for seed in (1, 1, 2):
        values = {"training": {"seed": seed}}
        settings = Settings(home=tmp_path / "home", pod_provider="runpod", ml=values)
        with pytest.raises(ResultUnusable, match="incomplete"):
            trained_there(setfit_script(settings), toy_examples(30, 1), settings, nothing)
        shutil.rmtree(tmp_path / "home" / "staged")
    assert [job.key == jobs[0].key for job in jobs] == [True, True, False]
    assert jobs[0].needs_gpu
    assert not jobs[0].secrets
    assert jobs[0].setup == "bash code/bootstrap.sh code/requirements-text.txt"
    assert (Path(str(onpod.__file__)).parent / "requirements-text.txt").is_file()


def test_posts_that_the_script_would_refuse_are_named_by_thread_before_a_pod_is_rented(tmp_path: Path) -> None:
    def rents(job: Job, into: Path) -> Finished:
        raise AssertionError("a pod was rented")

    settings, examples = Settings(home=tmp_path / "home", pod_provider="runpod"), toy_examples(60, 1)
    empty = [replace(examples[0], post=Post("", " ")), *examples[1:]]
    with pytest.raises(TrainingError, match=rf"no pod is rented: thread {examples[0].thread_id}: empty text"):
        trained_there(setfit_script(settings), empty, settings, rents)
    few = [example for example in examples if example.label != 2]
    with pytest.raises(TrainingError, match=r"too few posts of a class: 0 different posts of class 2 \(bullish\)"):
        trained_there(setfit_script(settings), few, settings, rents)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"spec.json": b"{"}, "cannot be read"),
        ({"text.json": b"[]"}, "different posts of class 0"),
        ({"text.json": b'[{"text": " ", "label": 0, "group": 1}]'}, "row 0: empty text"),
        ({"text.json": b'[{"text": "a", "label": 3, "group": 1}]'}, "row 0: unknown class"),
        ({"text.json": b'[{"text": "a", "label": 0}]'}, "row 0: malformed row"),
        ({"gold.json": b'[{"thread_id": 1, "text": "a", "label": 2}]'}, "gold labels must not be sent"),
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
