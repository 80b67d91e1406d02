"""The fast analyser gives the package's scores, and reads extra terms by the package's rules."""

import csv
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from vaderSentiment.vaderSentiment import (
    BOOSTER_DICT,
    NEGATE,
    SPECIAL_CASES,
    SentimentIntensityAnalyzer,
)

from bizcharts_pipeline.sentiment import vader as module
from bizcharts_pipeline.sentiment.vader import Vader, make_token

PACKAGE = SentimentIntensityAnalyzer()
FAST = Vader()

_pieces = sorted(
    {
        *(word for phrase in (*NEGATE, *BOOSTER_DICT, *SPECIAL_CASES) for word in phrase.split()),
        *list(PACKAGE.lexicon)[::37],
        *list(PACKAGE.emojis)[::97],
        *("no", "but", "kind", "of", "least", "at", "very", "so", "this", "never", "without", "doubt", "nor"),
        *("or", "good", "BAD", "Great", "isn't", ":)", ":(", "lol", "!", "?", "??", "!!!", "(", "."),
    }
)
_word = st.sampled_from(_pieces)
_shouted = _word.map(str.upper)
_punctuated = st.tuples(
    st.sampled_from(["", "(", '"', "..."]), _word, st.sampled_from(["", "!", "?", "...", "'s"])
).map("".join)
_texts = st.lists(_word | _shouted | _punctuated, max_size=14).flatmap(
    lambda words: st.sampled_from([" ", "  ", "\n", " \t"]).map(lambda space: space.join(words))
)


def agrees(text: str) -> None:
    assert FAST.polarity(text)._asdict() == PACKAGE.polarity_scores(text)


@pytest.mark.slow
@settings(max_examples=1500)
@given(_texts)
@example("It is NOT good, but it is not without doubt VERY good")
@example("good good bad but good good")
@example("a the shit no good")
@example("🚀🚀 x🚀")
@example("kind of good KIND of bad")
def test_the_four_scores_are_the_packages_own(text: str) -> None:
    agrees(text)


@settings(max_examples=300)
@given(st.text())
def test_any_text_scores_as_in_the_package(text: str) -> None:
    agrees(text)


def test_every_recorded_headline_scores_as_recorded(shared_data: Path) -> None:
    with (shared_data / "labels" / "cryptolin_news.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    text, recorded = _columns(rows[0])
    assert len(rows) == 2_683
    assert [FAST.polarity(row[text]).compound for row in rows] == [float(row[recorded]) for row in rows]


def test_rated_tweets_score_as_in_the_package(shared_data: Path) -> None:
    path = shared_data / "labels" / "vader_icwsm2014" / "tweets_GroundTruth.txt"
    tweets = [line.split("\t", 2)[2] for line in path.read_text(encoding="utf-8").splitlines()]
    assert len(tweets) == 4_200
    for tweet in tweets[::4]:
        agrees(tweet)


def _columns(row: dict[str, str]) -> tuple[str, str]:
    names = {name.lower(): name for name in row}
    return next(names[name] for name in ("text", "news", "title") if name in names), names["vader"]


def test_the_memory_for_tokens_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CACHED_TOKENS", 100)
    analyser = Vader()
    before = analyser.polarity("not good")
    analyser.polarity(" ".join(f"invented{k}" for k in range(10_000)))
    assert len(analyser._tokens) <= 100
    assert analyser.polarity("not good") == before


def reading(analyser: Vader, text: str) -> list[tuple[str | None, float]]:
    tokens, notable = analyser.tokens(text)
    return [(tokens[i].term, round(valence, 2)) for i, valence in analyser.valences(tokens, notable)]


PHRASES = {
    ("is", "over"): make_token("is over", -3.0, term="over"),
    ("it", "is", "over"): make_token("it is over", -3.5, term="all over"),
    ("so", "back"): make_token("so back", 2.5, term="back"),
}


def test_the_longest_phrase_wins_and_words_are_used_once() -> None:
    analyser = Vader(phrases=PHRASES)
    assert reading(analyser, "It is over!") == [("all over", -3.5)]
    assert reading(analyser, "that is over and we are so back") == [("over", -3.0), ("back", 2.5)]
    assert reading(analyser, "over is it back so") == []


def test_extra_terms_obey_negation_and_degree() -> None:
    analyser = Vader({"moon": 3.0, "good": None}, terms={"moon": "moon"}, phrases=PHRASES)
    assert reading(analyser, "to the moon") == [("moon", 3.0)]
    assert reading(analyser, "will not moon") == [("moon", round(3.0 * -0.74, 2))]
    assert reading(analyser, "very moon") == [("moon", 3.29)]
    assert reading(analyser, "good") == []
