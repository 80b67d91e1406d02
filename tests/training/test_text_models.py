"""Text models that are trained here: what is written is what was trained, and scores alike wherever it is read."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from training.made_up_posts import labels_of, made_up

from bizcharts_pipeline.models.registry import fit_and_publish
from bizcharts_pipeline.sentiment.artifact import Artifact, CorruptModel, model_path
from bizcharts_pipeline.sentiment.evaluation import evaluate
from bizcharts_pipeline.sentiment.loading import UnknownKind, load_scorer
from bizcharts_pipeline.sentiment.scorer import Post, Scorer
from bizcharts_pipeline.training.recipe import BaseMissing, Recipe, TextExample, TrainingError
from bizcharts_pipeline.training.recipes import fitting
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.lexicon import LexiconRecipe
from bizcharts_pipeline.training.recipes.minilm import MinilmRecipe
from bizcharts_pipeline.training.recipes.setfit import SetFitRecipe
from bizcharts_pipeline.training.recipes.tfidf import TfidfRecipe

RECIPES: dict[str, Callable[[], Recipe]] = {
    "lexicon_refit": LexiconRecipe,
    "tfidf": TfidfRecipe,
    "minilm": MinilmRecipe,
    "ensemble": EnsembleRecipe,
    "setfit": lambda: SetFitRecipe(tokens=16, pairs=16),
}
KNOWN, UNSEEN = made_up(120, seed=1), made_up(60, seed=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def trained(home: Path) -> Callable[[str], Artifact]:
    """Each kind is trained once, without network."""

    def refuse(*_: Any) -> None:
        raise AssertionError("training asked the network")

    @cache
    def train(kind: str) -> Artifact:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(socket.socket, "connect", refuse)
            patch.setattr(socket, "getaddrinfo", refuse)
            return fit(RECIPES[kind](), home)

    return train


@pytest.fixture(scope="module")
def ensemble(trained: Callable[[str], Artifact], home: Path) -> Scorer:
    return load(home, trained("ensemble"))


def fit(recipe: Recipe, home: Path, examples: list[TextExample] = KNOWN, seed: int = 7) -> Artifact:
    return fit_and_publish(recipe, examples, "made up", home, seed)


def load(home: Path, artifact: Artifact) -> Scorer:
    return load_scorer(model_path(home, artifact.model_version), artifact.sha256)


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECIPES)
def test_a_model_learns_and_scores_alike_wherever_its_folder_is(
    kind: str, trained: Callable[[str], Artifact], home: Path, tmp_path: Path
) -> None:
    artifact = trained(kind)
    scorer = load(home, artifact)
    posts = [example.post for example in UNSEEN]
    scores = scorer.score(posts)
    assert (scorer.kind, scorer.model_version) == (kind, artifact.model_version)
    assert evaluate(scores, labels_of(UNSEEN)).accuracy > 0.75, "a third would be chance, 0.93 perfect"
    elsewhere = shutil.copytree(model_path(home, artifact.model_version), tmp_path / "released")
    assert load_scorer(elsewhere, artifact.sha256).score(posts) == scores
    assert scorer.score([]) == []


@pytest.mark.slow
@pytest.mark.parametrize("kind", RECIPES)
def test_the_same_examples_and_seed_give_the_same_files(
    kind: str, trained: Callable[[str], Artifact], tmp_path: Path
) -> None:
    assert fit(RECIPES[kind](), tmp_path) == trained(kind)


@pytest.mark.slow
def test_kept_vectors_change_no_file_of_a_model(trained: Callable[[str], Artifact], tmp_path: Path) -> None:
    for _ in range(2):
        assert fit(MinilmRecipe(home=tmp_path), tmp_path) == trained("minilm")
    assert (tmp_path / "vectors" / "vectors.sqlite").exists()


@pytest.mark.parametrize("kind", ["tfidf", "ensemble"])
def test_a_model_with_a_changed_file_is_not_loaded(
    kind: str, trained: Callable[[str], Artifact], home: Path, tmp_path: Path
) -> None:
    artifact = trained(kind)
    folder = shutil.copytree(model_path(home, artifact.model_version), tmp_path / "model")
    for name in artifact.files:
        whole = (folder / name).read_bytes()
        (folder / name).write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(CorruptModel, match="changed"):
            load_scorer(folder, artifact.sha256)
        (folder / name).write_bytes(whole)
    assert load_scorer(folder, artifact.sha256)


def test_a_kind_that_nobody_knows_is_named(tmp_path: Path) -> None:
    class Crystal(LexiconRecipe):
        def __init__(self) -> None:
            super().__init__()
            self.kind = "crystal"

    artifact = fit(Crystal(), tmp_path)
    with pytest.raises(UnknownKind, match="crystal"):
        load(tmp_path, artifact)


def test_scoring_needs_none_of_the_heavy_libraries(trained: Callable[[str], Artifact], home: Path) -> None:
    artifact = trained("ensemble")
    program = (
        "import sys, json; from pathlib import Path\n"
        "from bizcharts_pipeline.sentiment.loading import load_scorer\n"
        "from bizcharts_pipeline.sentiment.scorer import Post\n"
        "load_scorer(Path(sys.argv[1]), sys.argv[2]).score([Post('so back', 'moon')])\n"
        "print(json.dumps([name for name in ('torch', 'transformers', 'sklearn', 'scipy') if name in sys.modules]))"
    )
    folder = model_path(home, artifact.model_version)
    run = subprocess.run(
        [sys.executable, "-c", program, str(folder), artifact.sha256], capture_output=True, check=True, timeout=60
    )
    assert json.loads(run.stdout) == []


@settings(max_examples=30)
@given(st.text(), st.text() | st.text(alphabet="moon?>!\n \x00\ud800🚀’"))
def test_any_post_gets_probabilities(ensemble: Scorer, subject: str, text: str) -> None:
    (score,) = ensemble.score([Post(subject, text)])
    probabilities = (score.p_bearish, score.p_neutral, score.p_bullish)
    assert all(0 < p < 1 for p in probabilities)
    assert sum(probabilities) == pytest.approx(1)


def test_calibration_judges_no_model_by_what_it_or_a_copy_of_it_learned() -> None:
    class Recorder:
        def __init__(self, known: set[int]) -> None:
            self.known = known

        def log_probabilities(self, posts: list[Post]) -> Any:
            asked = {example.group for example in KNOWN if example.post in posts}
            assert asked.isdisjoint(self.known)
            return np.log(np.full((len(posts), 3), 1 / 3))

        def save(self, folder: Path) -> None: ...

    for folds in (1, fitting.FOLDS):
        judged, told = fitting.out_of_fold(
            lambda some: Recorder({example.group for example in some}), KNOWN, 3, folds=folds
        )
        assert len(judged) == len(set(judged)) == len(told)
    assert sorted(judged) == list(range(len(KNOWN)))


@pytest.mark.parametrize("kind", RECIPES)
def test_too_few_posts_of_a_class_are_refused_with_their_number(kind: str, tmp_path: Path) -> None:
    few = [example for example in KNOWN if example.label != 2] + [e for e in KNOWN if e.label == 2][:3]
    with pytest.raises(TrainingError, match="bullish"):
        RECIPES[kind]().fit(few, tmp_path, 1)


@pytest.mark.parametrize("recipe", [MinilmRecipe, EnsembleRecipe, SetFitRecipe])
def test_an_encoder_that_is_not_here_is_named(recipe: Callable[[str], Recipe], tmp_path: Path) -> None:
    for base in (str(tmp_path / "nothing"), "nobody/nothing"):
        with pytest.raises(BaseMissing, match="nothing"):
            recipe(base).fit(KNOWN, tmp_path, 1)
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(BaseMissing, match="sentence-transformers"):
        recipe(str(tmp_path)).fit(KNOWN, tmp_path, 1)
