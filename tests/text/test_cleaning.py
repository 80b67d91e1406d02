"""Texts that look alike are read alike: by the lexicon, the spam score, coins, generals and duplicate groups."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.sentiment.scorer import Post
from bizcharts_pipeline.text.cleaning import clean_text
from bizcharts_pipeline.text.coins import find_mentions
from bizcharts_pipeline.text.duplicates import Opening, assign
from bizcharts_pipeline.text.generals import general_of
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.text.spam import spam_score

SCORER = LexiconScorer()
FULL_WIDTH = {code: code + 0xFEE0 for code in range(0x21, 0x7F)} | {0x20: 0x3000}
INVISIBLE = "\u200b\u200c\u200d\u2060\ufeff\u00ad\u034f\u061c\u180e\u202e\u2066\ufe0f\ufe00\U000e0041\U000e0100"
COMPOSED = "e\u0301\u0327\u0345Å\u2126\u1fef\u1ffd\u0385\u0344ｶﾞ가각\u1100\u1161\u3164"
AWKWARD = f"`´’–—…ﬁ™№½\u2028\x85🚀👨\ud83d\udc68{COMPOSED}{INVISIBLE}"


@pytest.mark.parametrize(
    ("typed", "typographic"),
    [
        ('next stop: "moon".', "next stop: “moon”."),
        ("he called it a 'scam'", "he called it a ‘scam’"),
        ("he called it a 'scam'", "he called it a ‚scam‛"),
        ('"crash" incoming', "„crash“ incoming"),
        ('"crash" incoming', "«crash» incoming"),
        ("markets crash...", "markets crash…"),
        ("i am bullish - very bullish", "i am bullish — very bullish"),
        ("i am bullish - very bullish", "i am bullish – very bullish"),
        ("moon - soon", "moon—soon"),
        ("it's over", "it’s over"),
        ("it's over", "it´s over"),
        ("it's over", "itʼs over"),
        ("it's over", "it`s over"),
        ("buy the dip", "buy\u00a0the\u2009dip"),
        ("buy the dip", "buy\u2800the\u3164dip"),
        ("wagmi", "wa\u200bgmi"),
        ("is it over? moon soon!", "is it over？ moon soon！"),
        ("bullish", "𝐛𝐮𝐥𝐥𝐢𝐬𝐡"),
        ("moon\n>rekt", "moon\u2028>rekt"),
        ("🚀 moon", "🚀\ufe0f moon"),
    ],
)
def test_texts_that_look_alike_score_alike(typed: str, typographic: str) -> None:
    ours, theirs = SCORER.score([Post("", typed), Post("", typographic)])
    assert ours == theirs
    assert SCORER.score([Post(typed, "")]) == SCORER.score([Post(typographic, "")])


SPAM = "New gem! presale live, join our telegram t.me/abc, 100x"


@pytest.mark.parametrize("hidden", [*INVISIBLE, "full width"])
def test_nothing_invisible_hides_an_advertisement_or_splits_its_copies(hidden: str) -> None:
    disguised = SPAM.translate(FULL_WIDTH) if hidden == "full width" else hidden.join(SPAM)
    assert disguised != SPAM
    assert spam_score("", disguised) == spam_score("", SPAM) > 0.8
    assert spam_score(disguised, "") == spam_score(SPAM, "")
    assert assign([Opening(1, 1, SPAM, None), Opening(2, 2, disguised, None)]) == [1, 1]


@pytest.mark.parametrize("blank", ["\u2800", "\u3164", "\uffa0", "\u115f", "\U0001d159"])
def test_no_blank_that_splits_words_hides_an_advertisement_or_its_copies(blank: str) -> None:
    disguised = SPAM.replace("presale", f"pre{blank}sale").replace("telegram t.me", f"tele{blank}gram t{blank}.me")
    assert spam_score("", disguised) == spam_score("", SPAM)
    assert spam_score("", SPAM.replace(" ", blank)) == spam_score("", SPAM)
    spaced = blank.join(SPAM)
    openings = [Opening(number, number, text, None) for number, text in enumerate((SPAM, disguised, spaced), 1)]
    assert assign(openings) == [1, 1, 1]


@pytest.mark.parametrize("hidden", [*INVISIBLE, "full width"])
def test_nothing_invisible_hides_a_coin_or_a_general(hidden: str) -> None:
    plain = ("/icpg/ comfy", "sold my $LINK and my chainlink bags")
    subject, text = (part.translate(FULL_WIDTH) if hidden == "full width" else hidden.join(part) for part in plain)
    assert general_of(subject) == "icpg"
    assert find_mentions(subject, text) == find_mentions(*plain)
    assert [mention.coin_symbol for mention in find_mentions(subject, text)] == ["ICP", "LINK"]


@pytest.mark.parametrize("characters", ["\u200b\u200b", "\ufe0f", "\u2060\u3164"])
def test_a_post_of_nothing_visible_is_a_post_without_text(characters: str) -> None:
    assert SCORER.score([Post("moon", characters)]) == SCORER.score([Post("moon", "")])


@pytest.mark.parametrize("joined", ["👨\u200d👩\u200d👧", "❤\ufe0f\u200d🔥", "🏴\u200d☠\ufe0f"])
def test_a_joined_emoji_is_read_as_its_parts_and_stored_as_it_was_posted(joined: str) -> None:
    text = f"so {joined} good"
    parts = text.replace("\u200d", "").replace("\ufe0f", "")
    assert SCORER.score([Post("", text)]) == SCORER.score([Post("", parts)])
    assert read_thread(SourceThread(1, datetime(2025, 12, 1), "live", "", text)).text == text


def test_other_alphabets_and_plain_ascii_stay_what_they_are() -> None:
    for text in ("Bạc Mặt Tăng", "покупай", "日本語のテキスト", "¯\\_(ツ)_/¯", "a -- b ... 'c' \"d\" ~/e <f>\t\n", ""):
        assert clean_text(text) == text
    assert clean_text("Bitcoin™ №1 ½ e\u0301") == "Bitcoin #1 1/2 é"


@given(st.text(st.characters() | st.characters(categories=["Mn", "Cf", "Cs", "Zs"]) | st.sampled_from(AWKWARD)))
def test_cleaning_twice_is_cleaning_once(text: str) -> None:
    cleaned = clean_text(text)
    assert clean_text(cleaned) == cleaned
    cleaned.encode()  # no half of a surrogate pair is left


def test_cleaning_every_character_twice_is_cleaning_it_once() -> None:
    for code in range(0x20000):
        cleaned = clean_text(f"a{chr(code)}\u0301")
        assert clean_text(cleaned) == cleaned, hex(code)


@pytest.mark.parametrize("piece", ["\u0301\u0327", "e\u0301", "\u200b", "’", "🚀", "\ufdfa", "ﬁ", "—", "\ud800", "é"])
def test_a_million_hostile_characters_are_cleaned(piece: str) -> None:
    hostile = piece * (1_000_000 // len(piece))
    assert clean_text(clean_text(hostile)) == clean_text(hostile)
