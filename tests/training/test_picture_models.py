"""Models that read pictures: what they learn, when fitted weights and inversion are used, and what a post without a
picture is scored by."""

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from training.made_up_posts import labels_of, made_up
from training.pictured_posts import features, picture, pictured, without_pictures

from bizcharts_pipeline.models.gate import proof_at
from bizcharts_pipeline.models.registry import fit_and_publish
from bizcharts_pipeline.sentiment import fusion
from bizcharts_pipeline.sentiment.artifact import Artifact, model_path
from bizcharts_pipeline.sentiment.evaluation import evaluate
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.scorer import Post, Scorer
from bizcharts_pipeline.training.recipe import TextExample, TooFewPictures
from bizcharts_pipeline.training.recipes.fusion import FusionRecipe, choose_pool
from bizcharts_pipeline.training.recipes.image import ImageRecipe

BETTER = proof_at(0.05)
KNOWN, UNSEEN = pictured(240, seed=1, share=0.8), pictured(90, seed=2)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@cache
def fitted(kind: str, home: Path) -> Artifact:
    recipe = ImageRecipe() if kind == "image" else FusionRecipe(BETTER)
    return fit_and_publish(recipe, KNOWN, "made up", home, 7)


def scorer(kind: str, home: Path) -> Scorer:
    artifact = fitted(kind, home)
    return load_scorer(model_path(home, artifact.model_version), artifact.sha256)


def accuracy(scorer: Scorer, posts: list[Post], examples: list[TextExample]) -> float:
    return evaluate(scorer.score(posts), labels_of(examples)).accuracy


def test_the_image_model_reads_pictures_and_says_which_posts_have_none(home: Path) -> None:
    image = scorer("image", home)
    assert accuracy(image, [example.post for example in UNSEEN], UNSEEN) > 0.9
    (score,) = image.score([Post("", "we are so back")])
    assert score.method == "image (without picture)"
    assert 0 < score.p_bullish < 0.6, "the shares of the classes"


def test_captions_teach_what_colours_do_not(home: Path, tmp_path: Path) -> None:
    known = pictured(150, seed=3, says=1.0, captions=True)
    grey = [
        replace(e, post=replace(e.post, picture=picture(features(None, e.thread_id, e.post.picture.features.ocr_text))))
        for e in known
        if e.post.picture and e.post.picture.features
    ]
    artifact = fit_and_publish(ImageRecipe(), grey[:100], "made up", tmp_path, 1)
    image = load_scorer(model_path(tmp_path, artifact.model_version), artifact.sha256)
    assert accuracy(image, [e.post for e in grey[100:]], grey[100:]) > 0.8


@pytest.mark.slow
def test_fusion_reads_what_the_text_does_not_say(home: Path) -> None:
    fused = scorer("fusion", home)
    silent = pictured(90, seed=4, text=False)
    with_picture = accuracy(fused, [example.post for example in silent], silent)
    assert with_picture > accuracy(fused, without_pictures(silent), silent) + 0.3


@pytest.mark.slow
def test_a_post_without_a_usable_picture_is_scored_by_its_text_exactly_and_says_so(home: Path) -> None:
    artifact = fitted("fusion", home)
    fused = scorer("fusion", home)
    posts = without_pictures(UNSEEN)
    whole = fusion.FusionModel.load(model_path(home, artifact.model_version))
    text = whole.parts.text.log_probabilities(posts) / whole.pool.text_temperature
    expected = np.exp(text) / np.exp(text).sum(axis=1, keepdims=True)
    scores = fused.score(posts)
    assert np.allclose([(s.p_bearish, s.p_neutral, s.p_bullish) for s in scores], expected)
    assert {(s.method, s.waits_for) for s in scores} == {("fusion (text only)", None)}
    (awaited,) = fused.score([replace(posts[0], picture=picture(None))])
    assert (awaited.method, awaited.waits_for) == ("fusion (text only)", "features")
    (read,) = fused.score([UNSEEN[0].post])
    assert (read.method, read.waits_for) == (None, None)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["image", "fusion"])
def test_the_same_examples_and_seed_give_the_same_files(kind: str, home: Path, tmp_path: Path) -> None:
    recipe = ImageRecipe() if kind == "image" else FusionRecipe(BETTER)
    assert fit_and_publish(recipe, KNOWN, "made up", tmp_path, 7) == fitted(kind, home)


@pytest.mark.parametrize(("kind", "runtime"), [("image", []), ("fusion", ["onnxruntime"])])
def test_scoring_needs_none_of_the_heavy_libraries(kind: str, runtime: list[str], home: Path) -> None:
    """The part that reads text has its encoder; no picture is opened."""
    artifact = fitted(kind, home)
    program = (
        "import sys, json; from pathlib import Path\n"
        "from bizcharts_pipeline.sentiment.loading import load_scorer\n"
        "from bizcharts_pipeline.sentiment.scorer import Post\n"
        "load_scorer(Path(sys.argv[1]), sys.argv[2]).score([Post('so back', 'moon')])\n"
        "names = ('torch', 'transformers', 'sklearn', 'scipy', 'PIL', 'onnxruntime', 'rapidocr', 'cv2')\n"
        "print(json.dumps([name for name in names if name in sys.modules]))"
    )
    folder = model_path(home, artifact.model_version)
    command = [sys.executable, "-c", program, str(folder), artifact.sha256]
    run = subprocess.run(command, capture_output=True, check=True, timeout=60)
    assert json.loads(run.stdout) == runtime


def test_too_few_pictures_are_named_with_their_number(tmp_path: Path) -> None:
    for recipe in (ImageRecipe(), FusionRecipe(BETTER)):
        with pytest.raises(TooFewPictures, match="0 different bearish posts have a picture"):
            recipe.fit(made_up(60), tmp_path, 1)


# The pool is chosen from out-of-fold predictions, which are made up here.


def said(labels: np.ndarray, right: float, rng: np.random.Generator, sure: float = 2.0) -> np.ndarray:
    """Return log-probabilities of a part that is right in a share of the posts."""
    classes = np.where(rng.random(len(labels)) < right, labels, rng.integers(0, 3, len(labels)))
    logits = rng.normal(0, 0.3, (len(labels), 3))
    logits[np.arange(len(labels)), classes] += sure
    return logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))


def made_up_parts(rights: tuple[float, float, float, float], n: int = 600) -> tuple[np.ndarray, list[TextExample]]:
    rng = np.random.default_rng(5)
    examples = [replace(example, group=number) for number, example in enumerate(made_up(n))]
    labels = np.array(labels_of(examples))
    return np.stack([said(labels, right, rng) for right in rights], axis=1), examples


def test_fitted_weights_are_used_only_where_they_prove_better() -> None:
    for rights, stacked in (((0.6, 0.4, 0.2, 0.2), "stated"), ((0.0, 0.9, 0.0, 0.0), "stacked")):
        parts, examples = made_up_parts(rights)
        pool = choose_pool(parts, examples, BETTER, seed=1)
        assert pool.why["weights"] == stacked, pool
        assert sum(pool.weights) == pytest.approx(1)
    assert pool.weights[1] > 0.7
    assert not pool.inverts


@pytest.mark.slow
def test_ironic_texts_are_read_in_reverse_only_where_labels_show_that_this_helps() -> None:
    parts, examples = made_up_parts((0.9, 0.9, 0.2, 0.2), 900)
    assert not choose_pool(parts, examples, BETTER, seed=1).inverts
    labels, rng = np.array(labels_of(examples)), np.random.default_rng(6)
    ironic = (rng.random(len(labels)) < 0.3) & (labels != 1)
    parts[:, 0] = said(labels, 0.9, rng, sure=3.0)
    parts[ironic, 0] = said(labels[ironic], 1.0, rng, sure=3.0)[:, ::-1]
    clear, vague = said(labels, 1.0, rng, sure=1.5), said(labels, 0.0, rng, sure=0.4)
    parts[:, 1] = np.where(ironic[:, None], clear, vague)  # who is ironic shows a picture that says so
    pool = choose_pool(parts, examples, BETTER, seed=1)
    assert pool.why["sarcastic"] > 50
    assert pool.inverts
    assert pool.why["inverted"]["log_loss"] < pool.why["inverted"]["against"]


def test_weights_are_renormalised_over_the_parts_that_a_post_has() -> None:
    parts = np.log(np.array([[[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [np.nan] * 3, [np.nan] * 3]]))
    mean = fusion.pooled(parts, (0.5, 0.3, 0.1, 0.1))
    assert np.allclose(mean, (5 * parts[:, 0] + 3 * parts[:, 1]) / 8)
    assert fusion.sarcasm(parts)[0] == pytest.approx(0.8 * 0.8 + 0.1 * 0.1)
