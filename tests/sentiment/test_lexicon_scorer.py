"""The lexicon scorer: what it promises of its probabilities, its rules and its version."""

import json
import math
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bizcharts_pipeline.sentiment import lexicon as module
from bizcharts_pipeline.sentiment.features import FEATURES, MAX_CHARACTERS, features
from bizcharts_pipeline.sentiment.fit_lexicon import cross_validate, fit, read_labels, summarise
from bizcharts_pipeline.sentiment.lexicon import (
    Calibration,
    CalibrationError,
    LexiconScorer,
    make_stance_reader,
)
from bizcharts_pipeline.sentiment.scorer import Post, Scorer
from bizcharts_pipeline.sentiment.terms import load_terms

SCORER = LexiconScorer()
READER = make_stance_reader()


def stance(text: str) -> float:
    reading = READER.read(text)
    return round(reading.bull - reading.bear, 2)


@given(st.text(), st.text() | st.text(alphabet="moon rekt?>!\n \x00\ud800🚀’"))
@example("", "")
@example("\x00", "\ud800")
def test_any_post_gets_probabilities(subject: str, text: str) -> None:
    (score,) = SCORER.score([Post(subject, text)])
    probabilities = (score.p_bearish, score.p_neutral, score.p_bullish)
    assert all(0 < p < 1 for p in probabilities)
    assert math.isclose(sum(probabilities), 1)


def test_scores_come_in_order_and_do_not_depend_on_company() -> None:
    posts = [Post("", text) for text in ("we're so back, moon soon", "", "rugged, it's over", "how do taxes work?")]
    assert SCORER.score(posts) == [SCORER.score([post])[0] for post in posts]
    assert SCORER.score([]) == []


@pytest.mark.parametrize("piece", ["a", "moon ", "?", ">moon\n", "is it over? ", "🚀", "'", "is ", "\n"])
def test_a_megabyte_is_read_to_the_limit_and_no_further(piece: str) -> None:
    text = piece * (1_000_000 // len(piece))
    assert features(Post("", text), READER)[1:] == features(Post("", text[: MAX_CHARACTERS - 1]), READER)[1:]


def test_bullish_and_bearish_posts_stand_apart() -> None:
    bullish, bearish, question = SCORER.score(
        [
            Post("", "to the moon, we're so back. buy the dip"),
            Post("", "it's over, rugged again, going to zero"),
            Post("", "how do i report my taxes? what documents do i need? https://irs.gov"),
        ]
    )
    assert bullish.score > 0.2 > -0.2 > bearish.score
    assert question.p_neutral > 0.5


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("wagmi", 1),
        ("ngmi", -1),
        ("never gonna make it", -1),
        ("buy the dip", 1),
        ("this shit is going to the moon", 1),
        ("fucking bullish", 1),
        ("not bullish", -1),
        ("pump and dump", -1),
        ("shorts rekt", 1),
        ("bobos btfo", 1),
        ("longs rekt", -1),
        ("JUST", -1),
        ("just saying", 0),
        ("stinky linkies", 0),
        ("the fear and greed index, lol", 0),
        ("", 0),
    ],
)
def test_the_board_reads_it_so(text: str, sign: int) -> None:
    reading = READER.read(text)
    total = reading.bull - reading.bear
    assert (total > 0) - (total < 0) == sign
    if sign == 0:
        assert reading.pleasant == reading.unpleasant == 0


def test_questions_and_greentext_say_less() -> None:
    plain = stance("it is a rugpull")
    assert plain < stance(">it is a rugpull") < stance("it is a rugpull?") < stance(">it is a rugpull?") < 0


def test_only_the_strongest_hits_count_and_promises_are_capped() -> None:
    assert stance("moon " * 40) == stance("moon moon moon")
    assert 0 < stance("hidden gem, 100x, generational wealth") <= 1.5


def test_capitals_are_no_emphasis_in_a_post_of_capitals() -> None:
    assert stance("MOON THIS YEAR") == stance("moon this year") < stance("MOON this year")


def test_the_lexicon_file_is_consistent() -> None:
    terms = load_terms()
    assert len({term.name for term in terms}) == len(terms) >= 100
    assert all(spelling and all(spelling) for term in terms for spelling in term.spellings)
    assert all(word == word.lower() for term in terms for spelling in term.spellings for word in spelling)


def test_the_version_names_lexicon_calibration_and_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    scorer: Scorer = LexiconScorer()
    assert scorer.kind == "lexicon"
    assert scorer.model_version == SCORER.model_version
    assert scorer.model_version.startswith("lexicon-")
    assert len(scorer.model_version) == len("lexicon-") + 8
    versions = {scorer.model_version}
    monkeypatch.setattr(module, "CODE_VERSION", module.CODE_VERSION + 1)
    versions.add(LexiconScorer().model_version)
    monkeypatch.setattr(module, "lexicon_bytes", lambda: b"another lexicon")
    versions.add(LexiconScorer().model_version)
    other = tmp_path / "calibration.json"
    content = files("bizcharts_pipeline.sentiment").joinpath("data/calibration.json").read_text()
    other.write_text(content + "\n")
    monkeypatch.setattr(module, "_CALIBRATION", other)
    versions.add(LexiconScorer().model_version)
    assert len(versions) == 4


def test_a_calibration_for_other_features_is_refused() -> None:
    content = json.loads(files("bizcharts_pipeline.sentiment").joinpath("data/calibration.json").read_text())
    assert Calibration.from_json(content).to_json().items() <= content.items()
    with pytest.raises(CalibrationError, match="fit it again"):
        Calibration.from_json({**content, "weights": {"moon phase": {"bearish": 1, "bullish": 1}}})
    with pytest.raises(CalibrationError, match="missing"):
        Calibration.from_json({**content, "intercepts": {"bearish": 0.1}})


def test_the_calibration_says_where_it_comes_from() -> None:
    provenance = json.loads(files("bizcharts_pipeline.sentiment").joinpath("data/calibration.json").read_text())[
        "provenance"
    ]
    assert {
        "labels",
        "labels_sha256",
        "n",
        "fitted_on",
        "method",
        "cross_validation",
        "cross_validated",
    } <= provenance.keys()


def test_a_fit_recovers_what_made_the_labels() -> None:
    values = [tuple(float(k % (n + 2) == 0) for n in range(len(FEATURES))) for k in range(600)]
    labels = [2 if row[0] and not row[1] else 0 if row[1] and not row[0] else 1 for row in values]
    calibration = fit(values, labels)
    said = [calibration.score(row).score for row in values]
    assert min(s for s, label in zip(said, labels, strict=True) if label == 2) > 0
    assert max(s for s, label in zip(said, labels, strict=True) if label == 0) < 0


def test_rated_posts_are_read_better_than_by_chance(shared_data: Path) -> None:
    labelled = read_labels(shared_data / "labels" / "biz_op_labels_2025_part_a.jsonl")
    assert len(labelled) == 672
    figures = summarise(cross_validate(labelled, seeds=range(3)))
    assert figures["macro_f1"] >= 0.50
    assert figures["ece"] <= 0.07
    assert figures["bull_bear_auc"] >= 0.66
