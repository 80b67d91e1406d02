"""The scripts that train text models on a pod, run as a pod runs them: from a folder with code and data alone."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bizcharts_pipeline.sentiment.artifact import Artifact, model_path, new_model, publish
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.temperature import at_temperature
from bizcharts_pipeline.training import onpod
from bizcharts_pipeline.training.onpod.bert_lora import LoraSettings
from bizcharts_pipeline.training.pod_text import cryptobert_spec, setfit_spec, text_files
from bizcharts_pipeline.training.recipe import TextExample
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, find_encoder

if not os.environ.get("CI"):
    pytest.importorskip("peft")

from tiny_roberta import make_base, toy_examples

QUICK = LoraSettings(epochs=20, learning_rate=5e-3, dropout=0.0, batch=32)
GOLD = toy_examples(60, 7)


def run_on_pod(root: Path, script: str, files: dict[str, bytes]) -> subprocess.CompletedProcess[str]:
    """Lay the job out as on a pod, and run it there without this package on its path."""
    shutil.copytree(Path(str(onpod.__file__)).parent, root / "code", ignore=shutil.ignore_patterns("__pycache__"))
    (root / "data").mkdir()
    for name, content in files.items():
        (root / "data" / name).write_bytes(content)
    environment = {"PATH": os.environ["PATH"], "HOME": str(root), "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, f"code/{script}", "data/spec.json"]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, timeout=120, check=False)


def register(root: Path, home: Path, kind: str, base: str, revision: str | None) -> tuple[Artifact, Path]:
    with new_model(home) as folder:
        shutil.copytree(root / "output" / "adapter", folder, dirs_exist_ok=True)
        artifact = publish(
            folder,
            home,
            kind=kind,
            base_model=base,
            base_revision=revision,
            dataset_version="toy",
            code_version="1",
            seed=1,
            settings={},
        )
    return artifact, model_path(home, artifact.model_version)


def check_output(root: Path, home: Path, artifact: Artifact, folder: Path, within: float) -> None:
    """What the pod said of the gold posts is what the fetched model says here."""
    scores: dict[str, Any] = json.loads((root / "output" / "scores.json").read_bytes())
    said = at_temperature(np.array([row["log_p"] for row in scores["gold"]]), scores["temperature"])
    here = load_scorer(folder, artifact.sha256).score([example.post for example in GOLD])
    assert [row["thread_id"] for row in scores["gold"]] == [example.thread_id for example in GOLD]
    ours = np.array([[score.p_bearish, score.p_neutral, score.p_bullish] for score in here])
    assert np.abs(said - ours).max() < within
    report = json.loads((root / "output" / "report.json").read_bytes())
    assert report["validation"]["after"]["n"] == len(scores["validation"]) > 0
    assert (said.argmax(1) == [example.label for example in GOLD]).mean() > 0.8


def learned(examples: int = 400) -> list[TextExample]:
    return toy_examples(examples, 1)


def test_cryptobert_from_a_pod_says_here_what_it_said_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base, root = make_base(tmp_path / "tiny"), tmp_path / "pod"
    monkeypatch.setenv("BIZCHARTS_ML__TRAINING__CRYPTOBERT_BASE", str(base))
    done = run_on_pod(
        root, "train_cryptobert.py", text_files(cryptobert_spec(str(base), None, 1, QUICK), learned(), GOLD)
    )
    assert done.returncode == 0, done.stderr
    assert {"metrics", "done"} <= {json.loads(line)["kind"] for line in done.stdout.splitlines()}
    revision = json.loads((root / "output" / "report.json").read_bytes())["base_sha256"][:40]
    artifact, folder = register(root, tmp_path / "home", "cryptobert", base.name, revision)
    check_output(root, tmp_path / "home", artifact, folder, 1e-5)


def test_setfit_from_a_pod_says_here_what_it_said_there(tmp_path: Path) -> None:
    base, root = find_encoder(PACKAGE), tmp_path / "pod"
    spec = setfit_spec(str(base.folder), None, base.folder, 1, tokens=32, pairs=64)
    done = run_on_pod(root, "train_setfit.py", text_files(spec, learned(80), GOLD))
    assert done.returncode == 0, done.stderr
    artifact, folder = register(root, tmp_path / "home", "setfit", base.name, base.revision)
    check_output(root, tmp_path / "home", artifact, folder, 1e-3)


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
    files = text_files(cryptobert_spec("nobody/nothing", None, 1, QUICK), learned(40), GOLD)
    done = run_on_pod(tmp_path / "pod", "train_cryptobert.py", files | change)
    assert done.returncode == 6
    assert says in done.stderr
    assert not (tmp_path / "pod" / "output").exists()
