"""CryptoBERT's recipe and scorer, on a tiny model of its shape."""

import json
import os
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest

from bizcharts_pipeline.models.registry import fit_and_publish
from bizcharts_pipeline.sentiment.artifact import Artifact, model_path, read_artifact
from bizcharts_pipeline.sentiment.bases import NoBase, find_base
from bizcharts_pipeline.sentiment.cryptobert import UnknownClasses, load_cryptobert, stock_cryptobert
from bizcharts_pipeline.sentiment.scorer import Post, Score
from bizcharts_pipeline.training.onpod.bert_lora import LoraSettings, Unusable, fit
from bizcharts_pipeline.training.recipe import BaseMissing, TextExample
from bizcharts_pipeline.training.recipes.cryptobert import CryptoBertRecipe

if not os.environ.get("CI"):
    pytest.importorskip("peft")

from tiny_roberta import make_base, toy_examples

QUICK = LoraSettings(epochs=12, learning_rate=5e-3, dropout=0.0, batch=16)


def train(base: Path, home: Path, examples: list[TextExample], seed: int = 1) -> tuple[Artifact, Path]:
    recipe = CryptoBertRecipe(str(base), lora=QUICK)
    artifact = fit_and_publish(recipe, examples, "toy", home, seed)
    return artifact, model_path(home, artifact.model_version)


def accuracy(scores: list[Score], examples: list[TextExample]) -> float:
    said = [max(range(3), key=(s.p_bearish, s.p_neutral, s.p_bullish).__getitem__) for s in scores]
    return sum(a == example.label for a, example in zip(said, examples, strict=True)) / len(examples)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_base(tmp_path_factory.mktemp("base") / "tiny-cryptobert")


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    """Small tensors on several threads wait for each other, minutes beside a busy neighbour."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object) -> NoReturn:
        raise AssertionError("something asked the network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.mark.slow
def test_it_learns_from_examples_and_a_reload_says_exactly_the_same(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BIZCHARTS_ML__TRAINING__CRYPTOBERT_BASE", str(base))
    artifact, folder = train(base, tmp_path, toy_examples(200, 1))
    unseen = toy_examples(150, 2)
    posts = [example.post for example in unseen]

    scores = load_cryptobert(folder, read_artifact(folder, artifact.sha256)).score(posts)

    assert accuracy(scores, unseen) > 0.9
    assert accuracy(stock_cryptobert(str(base), "").score(posts), unseen) < 0.7  # as it was before
    assert load_cryptobert(folder, artifact).score(posts) == scores
    assert not [path for path in folder.rglob("*") if str(base.parent) in path.read_bytes().decode(errors="replace")]


@pytest.mark.slow
def test_the_same_examples_and_seed_give_the_same_files(base: Path, tmp_path: Path) -> None:
    first, again, other = (
        train(base, tmp_path / f"{number}", toy_examples(60, 1), seed)[0] for number, seed in enumerate((1, 1, 2))
    )
    assert first == again
    assert first.files != other.files


@pytest.mark.slow
def test_classes_are_known_by_their_names_in_whatever_order_the_base_has_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    permuted = make_base(tmp_path / "permuted", ("NEUTRAL", "BULLISH", "BEARISH"))
    monkeypatch.setenv("BIZCHARTS_ML__TRAINING__CRYPTOBERT_BASE", str(permuted))
    artifact, folder = train(permuted, tmp_path, toy_examples(200, 1))
    unseen = toy_examples(100, 3)
    assert accuracy(load_cryptobert(folder, artifact).score([e.post for e in unseen]), unseen) > 0.9


def test_a_stock_model_gives_each_class_the_probability_of_its_name(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "renamed")
    config = json.loads((tmp_path / "renamed" / "config.json").read_text())
    config["id2label"] = {"0": "BULLISH", "1": "BEARISH", "2": "NEUTRAL"}  # the same weights
    (tmp_path / "renamed" / "config.json").write_text(json.dumps(config))
    post = [Post("", "moon the desk")]
    (plain,), (renamed,) = (
        stock_cryptobert(str(base), "").score(post),
        stock_cryptobert(str(tmp_path / "renamed"), "").score(post),
    )
    assert [renamed.p_bullish, renamed.p_bearish, renamed.p_neutral] == pytest.approx(
        [plain.p_bearish, plain.p_neutral, plain.p_bullish], abs=1e-12
    )
    assert len({round(p, 6) for p in (plain.p_bearish, plain.p_neutral, plain.p_bullish)}) == 3


@pytest.mark.parametrize("classes", [("LABEL_0", "LABEL_1", "LABEL_2"), ("Bearish", "Neutral", "Positive")])
def test_classes_without_the_right_names_are_refused(tmp_path: Path, classes: tuple[str, ...]) -> None:
    unnamed = make_base(tmp_path / "unnamed", classes)
    with pytest.raises(UnknownClasses):
        stock_cryptobert(str(unnamed), "")
    with pytest.raises(Unusable):
        fit(unnamed, ["a", "b", "c"], [0, 1, 2], QUICK, 1)


def test_an_adapter_is_not_put_on_another_base(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact, folder = train(base, tmp_path, toy_examples(60, 1))
    other = make_base(tmp_path / base.name, seed=9)
    monkeypatch.setenv("BIZCHARTS_ML__TRAINING__CRYPTOBERT_BASE", str(other))
    with pytest.raises(NoBase, match="another model"):
        load_cryptobert(folder, artifact)


def test_without_its_base_it_says_what_to_do_and_asks_nobody(tmp_path: Path) -> None:
    recipe = CryptoBertRecipe("nobody/no-such-model")
    with pytest.raises(BaseMissing, match="BIZCHARTS_HUB_DOWNLOADS"):
        recipe.fit(toy_examples(10, 1), tmp_path, 1)


def test_a_download_names_a_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_HUB_DOWNLOADS", "true")
    with pytest.raises(NoBase, match="at a commit: choose one"):
        find_base("nobody/no-such-model", "main")


def test_a_base_in_the_hubs_cache_is_named_by_its_commit(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    cached = tmp_path / "hub" / "models--some--bert"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(commit)
    shutil.copytree(base, cached / "snapshots" / commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    found = find_base("some/bert")
    assert (found.name, found.revision) == ("some/bert", commit)
    assert found.sha256 == find_base(str(base)).sha256


def test_pickled_weights_are_no_base(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "pickled", ignore=shutil.ignore_patterns("*.safetensors"))
    (tmp_path / "pickled" / "pytorch_model.bin").write_bytes(b"\x80\x04.")
    with pytest.raises(NoBase, match="pickle"):
        find_base(str(tmp_path / "pickled"))
