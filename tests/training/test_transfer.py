"""What is learned from a labelled file of another source, and that nothing else of the file stays."""

import csv
import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tiny_encoder import tiny_encoder
from training.made_up_posts import made_up

from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.models.registry import fit_and_publish
from bizcharts_pipeline.sentiment.artifact import model_path
from bizcharts_pipeline.sentiment.calibrated import whole_text
from bizcharts_pipeline.sentiment.encoder import Single
from bizcharts_pipeline.sentiment.loading import load_scorer
from bizcharts_pipeline.sentiment.minilm import Encoder
from bizcharts_pipeline.sentiment.scorer import Post as ReadPost
from bizcharts_pipeline.sentiment.temperature import log_softmax
from bizcharts_pipeline.settings import TransferSettings
from bizcharts_pipeline.training.recipes.encoders import PACKAGE, find_encoder, load_encoder
from bizcharts_pipeline.training.recipes.ensemble import EnsembleRecipe
from bizcharts_pipeline.training.recipes.lexicon import train_with_feature
from bizcharts_pipeline.training.recipes.minilm import BITS, TOKENS
from bizcharts_pipeline.training.recipes.transfer import MIN_OF_A_SIDE, Transfer, UnusableTransferFile

SIDES = {"sell": "the bears were right all along and number {} goes down", "buy": "what a glorious rally, number {} up"}
MARK = "xylophonist"


def write(path: Path, rows: Sequence[tuple[str, str]], columns: tuple[str, str] = ("said", "side")) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


@pytest.fixture
def file(tmp_path: Path) -> Path:
    draw = np.random.default_rng(1)
    words = [f"{MARK}{number:x}".translate(str.maketrans("0123456789", "ghijklmnop")) for number in range(500)]
    rows = [
        (f"{text.format(' '.join(draw.choice(words, 12)))}", side)
        for side, text in SIDES.items()
        for _ in range(MIN_OF_A_SIDE + 10)
    ]
    return write(tmp_path / "others.csv", [*rows, ("neither", "hold"), ("", "buy")])


def settings(file: Path, **changed: str) -> TransferSettings:
    named = {"text": "said", "label": "side", "bearish": "sell", "bullish": "buy"}
    return TransferSettings(file=str(file), **named | changed)


@pytest.mark.slow
def test_the_feature_counts_in_the_ensemble_as_fitted_and_nothing_else_of_the_file_is_stored(
    file: Path, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    transfer = Transfer(settings(file), list)
    recipe = EnsembleRecipe(home=home, transfer=transfer)
    known, unseen = made_up(90), [example.post for example in made_up(20, seed=2)]
    artifact = fit_and_publish(recipe, known, "made up", home, 1)
    described = artifact.settings["transfer"]
    assert (described["file"], described["bearish"], described["bullish"]) == ("others.csv", 60, 60)
    assert described["sha256"] == hashlib.sha256(file.read_bytes()).hexdigest()
    assert not any(MARK.encode() in path.read_bytes() for path in home.rglob("*") if path.is_file())

    encoder = load_encoder(find_encoder(PACKAGE), TOKENS, BITS)
    feature, plain = transfer.learn(encoder), EnsembleRecipe(home=home).trainer()(known)
    rows = [row for row in csv.reader(file.read_text("utf-8").splitlines()) if row[0] and row[1] in SIDES]
    is_bullish = feature(encoder.encode([text for text, _ in rows])) > 0
    assert is_bullish.tolist() == [side == "buy" for _, side in rows]
    rules, slopes = train_with_feature(known, feature(encoded(encoder, [each.post for each in known])).tolist())
    logits = rules.log_probabilities(unseen) + np.outer(feature(encoded(encoder, unseen)), slopes)
    others = [plain.members[kind].log_probabilities(unseen) for kind in ("minilm", "tfidf")]
    expected = log_softmax(np.mean([logits, *others], axis=0))
    assert recipe.trainer()(known).log_probabilities(unseen) == pytest.approx(expected, abs=1e-9)
    scores = load_scorer(model_path(home, artifact.model_version), artifact.sha256).score(unseen)
    assert [score.score > 0 for score in scores] == (expected[:, 2] > expected[:, 0]).tolist()


def test_rows_that_resemble_a_labelled_post_teach_nothing(file: Path) -> None:
    rows = list(csv.reader(file.read_text("utf-8").splitlines()))[1:]
    sold = [text for text, side in rows if side == "sell"]
    gold = [Post(number, None, None, f"{text}!!", None) for number, text in enumerate(sold[:20])]
    with pytest.raises(UnusableTransferFile, match="40 usable rows have the label 'sell'; at least 50 are needed"):
        Transfer(settings(file), lambda: gold).learn(tiny_encoder())


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"text": "words"}, "there is no column 'words'"),
        ({"bearish": "short"}, "0 usable rows have the label 'short'"),
        ({"file": "/nowhere/at/all.csv"}, "/nowhere/at/all.csv: it cannot be read as CSV"),
        ({"file": "/dev/null"}, "/dev/null: it cannot be read as CSV"),
    ],
)
def test_a_file_that_cannot_be_used_is_named_in_one_line(file: Path, changed: dict[str, str], says: str) -> None:
    named = TransferSettings.model_validate(settings(file).model_dump() | changed)
    with pytest.raises(UnusableTransferFile, match=says) as refused:
        Transfer(named, list).learn(tiny_encoder())
    assert "\n" not in str(refused.value)
    assert "[ml.transfer]" in str(refused.value)


def test_a_file_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("said,side\nna\xefve,buy\n".encode("latin-1"))
    with pytest.raises(UnusableTransferFile, match="cannot be read as CSV"):
        Transfer(settings(path), list).described  # noqa: B018


def encoded(encoder: Encoder, posts: Sequence[ReadPost]) -> Single:
    return encoder.encode([whole_text(post) for post in posts])
