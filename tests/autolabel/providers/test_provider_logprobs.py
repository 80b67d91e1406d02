"""Probabilities of the classes from tokens, however these fall."""

import itertools
import json
import math

import pytest
from autolabel.providers.label_service import completion
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.autolabel.providers.logprobs import Token, probabilities
from bizcharts_pipeline.autolabel.providers.replies import chat_answer
from bizcharts_pipeline.labels.stances import STANCES, Stance


def tokens(*texts: str | tuple[str, dict[str, float]]) -> list[Token]:
    """Tokens of probability 1, or with the probabilities of what could stand there; the token itself among them."""
    made = []
    for item in texts:
        text, shares = (item, {item: 1.0}) if isinstance(item, str) else item
        made.append(Token(text, math.log(shares[text]), tuple((t, math.log(p)) for t, p in shares.items())))
    return made


@pytest.mark.parametrize(
    ("label", "found", "expected"),
    [
        # one token a class
        ("neutral", ['{"', "stance", '":"', ("neutral", {"neutral": 0.7, "bullish": 0.2, "bearish": 0.1}), '"}'],
         (0.1, 0.7, 0.2)),
        # classes in pieces, and the same class by two ways
        ("bearish", ['{"stance":"', ("bear", {"bear": 0.5, "bull": 0.2, "neutral": 0.1, "bearish": 0.1, "neut": 0.1}),
         "ish", '"}'], (0.6, 0.2, 0.2)),
        # the quote belongs to the token
        ("bullish", ['{"stance":', ('"bull', {'"bull': 0.8, '"bear': 0.15, '"ne': 0.05}), "ish", '"}'],
         (0.15, 0.05, 0.8)),
        ("bullish", ['{"stance":"', ("bullish\"}", {"bullish\"}": 0.8, "bearish\"}": 0.2})], (0.2, 0.0, 0.8)),
        # blanks and capitals of other forms
        ("bearish", ['{"stance": "', ("bear", {"bear": 0.5, " bearish": 0.3, "Neutral": 0.2}), 'ish"}'],
         (0.8, 0.2, 0.0)),
        # the classes part at the second token
        ("bullish", ['{"stance":"', ("b", {"b": 0.8, "n": 0.2}), ("ull", {"ull": 0.75, "ear": 0.25}), 'ish"}'],
         (0.2, 0.2, 0.6)),
        ("bullish", ['{"stance":', ('"', {'"': 1.0}), ("bull", {"bull": 0.9, "bear": 0.1}), 'ish"}'], (0.1, 0.0, 0.9)),
        # what is no class counts for none
        ("neutral", ['{"stance":"', ("neutral", {"neutral": 0.6, "moon": 0.2, "bull": 0.2}), '"}'], (0.0, 0.75, 0.25)),
        # an alternative that may become two classes
        ("neutral", ['{"stance":"', ("neutral", {"neutral": 0.7, "b": 0.3}), '"}'], None),
        # too little of the probability is on the classes
        ("neutral", ['{"stance":"', ("neutral", {"neutral": 0.3, "moon": 0.7}), '"}'], None),
    ],
)  # fmt: skip
def test_probability_gathers_where_the_classes_part(
    label: Stance, found: list[str | tuple[str, dict[str, float]]], expected: tuple[float, float, float] | None
) -> None:
    made = tokens(*found)
    told = probabilities("".join(token.text for token in made), label, made)
    assert told == (pytest.approx(expected) if expected else None)


def test_tokens_of_another_answer_tell_nothing() -> None:
    content = '{"stance":"neutral"}'
    assert probabilities(content, "neutral", tokens('{"stance":"', "bullish", '"}')) is None
    assert probabilities(content, "neutral", []) is None
    assert probabilities(content, "neutral", [Token(content, 0.0, ())]) is None


@given(
    st.sampled_from(STANCES),
    st.lists(st.integers(1, 20), max_size=6, unique=True),
    st.lists(st.floats(0.01, 1.0), min_size=3, max_size=3),
)
def test_any_cut_of_the_answer_gives_the_same_probabilities(
    label: Stance, cuts: list[int], weights: list[float]
) -> None:
    """A model that knows three answers alone, told in tokens cut anywhere, gives their probabilities back."""
    shares = dict(zip(STANCES, (weight / sum(weights) for weight in weights), strict=True))
    texts = {stance: f'{{"stance":"{stance}"}}' for stance in STANCES}
    content = texts[label]
    edges = [0, *sorted(cut for cut in cuts if cut < len(content)), len(content)]
    made = []
    for begin, end in itertools.pairwise(edges):
        possible = [stance for stance in STANCES if texts[stance].startswith(content[:begin])]
        reached = sum(shares[stance] for stance in possible)
        after: dict[str, float] = {}
        for stance in possible:
            after[texts[stance][begin:end]] = after.get(texts[stance][begin:end], 0.0) + shares[stance] / reached
        text = content[begin:end]
        made.append(Token(text, math.log(after[text]), tuple((t, math.log(p)) for t, p in after.items())))
    found = probabilities(content, label, made)
    if label == "neutral" and len('{"stance":"b') in cuts:
        assert found is None  # "b" could become two classes, and nothing says which
    else:
        assert found == pytest.approx(tuple(shares.values()))


@pytest.mark.parametrize("logprob", [math.nan, -math.inf, 1e9, -9999.0])
def test_no_number_of_a_service_breaks_an_answer(logprob: float) -> None:
    body = completion(
        logprobs={
            "content": [
                {"token": '{"stance":"', "logprob": 0.0, "top_logprobs": [{"token": '{"stance":"', "logprob": 0.0}]},
                {"token": 'bullish"}', "logprob": logprob, "top_logprobs": [{"token": "bear", "logprob": logprob}]},
            ]
        }
    )
    answer = chat_answer(json.dumps(body))
    assert answer.label == "bullish"
    assert answer.probabilities is None or sum(answer.probabilities) == pytest.approx(1)
