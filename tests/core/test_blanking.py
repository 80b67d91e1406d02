"""Keys that a service repeats are masked however JSON writes them, and nothing else is changed."""

import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.core.blanking import blank

KEY = "rpa_CANARY5XQ/7HZ2KPW9"


def escaped(text: str, rng: Random) -> str:
    """A JSON string in which characters are written in any of the ways that JSON has."""
    ways = (lambda c: c, lambda c: f"\\u{ord(c):04x}", lambda c: f"\\u{ord(c):04X}", lambda c: "\\/" if c == "/" else c)
    return "".join(rng.choice(ways)(character) for character in text)


@given(st.integers(0, 2**32), st.text(st.characters(codec="utf-8"), max_size=20))
def test_a_key_is_masked_however_json_escapes_it_and_the_answer_stays_json(seed: int, beside: str) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_KEY", KEY)
        content = json.dumps({"beside": beside, "key": "KEY"}).replace("KEY", f"a{escaped(KEY, Random(seed))}b")
        masked = json.loads(blank(content.encode(), ()))
    assert masked == {"beside": beside, "key": "a<RUNPOD_API_KEY>b"}


@given(st.binary(max_size=200) | st.text(max_size=100).map(lambda text: json.dumps(text).encode()))
def test_content_without_a_key_is_not_changed(content: bytes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_KEY", KEY)
        assert blank(content, ()) == content


def test_an_escaped_backslash_before_the_letters_of_an_escape_is_text() -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RUNPOD_API_KEY", "\\u0061bcdef")
        content = json.dumps("x\\u0061bcdefy").encode()
        assert json.loads(blank(content, ())) == "x<RUNPOD_API_KEY>y"
