"""Strangers' text stays text, whatever it is written in."""

import codecs
import re

import pytest

from bizcharts_pipeline.app.untrusted import as_markdown
from bizcharts_pipeline.text.slurs import mask_slurs
from bizcharts_pipeline.text.untrusted import as_html, plain

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "[click](javascript:alert(1)) ![x](https://evil.example/p.png)",
    "$\\frac{1}{2}$ and $$x$$",
    ":material/warning: :red[blood] :smile: :blue-badge[x]",
    "https://evil.example www.evil.example mail@evil.example",
    "\u202egnp.exe\u202c \u200fabc\u2066 \ufeff",
    "# head\n- list\n> quote\n```code```\n| a | b |",
    "<!-- --> &lt;b&gt; {{7*7}} ${7*7} <%= 7 %>",
    "Z" + "\u0301" * 500 + "algo",
    "\x00\x1b[31mred\x07",
)


@pytest.mark.parametrize("text", HOSTILE)
def test_in_html_strangers_text_opens_nothing(text: str) -> None:
    shown = as_html(text)
    assert not set(shown) & set("<>\"'")
    assert re.findall(r"&(?!amp;|lt;|gt;|quot;|#x27;)", shown) == []


@pytest.mark.parametrize("text", HOSTILE)
def test_in_markdown_strangers_text_starts_nothing(text: str) -> None:
    shown = as_markdown(text)
    assert "\n" not in shown
    unescaped = re.sub(r"\\([!-/:-@\[-`{-~])", "", shown)
    assert re.findall(r"[!-/:-@\[-`{-~]", unescaped) == [], "each mark of punctuation is escaped"
    resolved = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", shown)  # what is looked for icons, emoji and addresses
    assert not re.search(r":\w|https?://|www\.|@\w", resolved)


@pytest.mark.parametrize("text", HOSTILE)
def test_no_mark_turns_the_direction_of_what_stands_beside(text: str) -> None:
    assert not re.search("[\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff\x00-\x1f]", plain(text))
    assert not re.search("\u0301{3}", plain(text))


def test_a_word_of_100_kilobytes_is_cut_and_may_be_broken() -> None:
    word = "A" * 100_000
    for show in (plain, as_markdown):
        assert len(show(word)) <= 200
    shown = as_html(word)
    assert max(map(len, shown.split("\u200b"))) <= 40
    assert plain(word).endswith("…")
    assert plain("x" * 200) == "x" * 200
    assert plain(None) == ""


def test_slurs_are_masked_and_words_like_them_are_not() -> None:
    first, second = codecs.encode("snttbg", "rot13"), codecs.encode("ergneq", "rot13")
    assert mask_slurs(f"you {first}s and {second.upper()}") == f"you {first[0]}{'•' * 6} and {second[0].upper()}•••••"
    harmless = "spicy gains, tardy Pakistan, cocoon, goyard bag, retardant"
    assert mask_slurs(harmless) == harmless
