"""Generals, spam and the whole reading of a thread."""

from datetime import datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.rows import SourceThread
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS, general_of
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.text.spam import spam_score


@pytest.mark.parametrize(
    ("subject", "general"),
    [
        ("/smg/ - Stock Market General", "smg"),
        ("/ICPG/ comfy edition", "icpg"),
        ("stock market general, monday edition", "smg"),
        ("why does /biz/ hate this", None),
        ("https://example.com/abc/def", None),
        ("buy/sell/hold", None),
        ("", None),
        (None, None),
    ],
)
def test_a_general_is_named_by_its_tag(subject: str | None, general: str | None) -> None:
    assert general_of(subject) == general


def test_stocks_metals_and_commodities_are_not_crypto() -> None:
    assert {"smg", "pmg", "cmmg"} <= NON_CRYPTO_GENERALS


ADDRESS = "0x514910771af9ca656af840dff83e8264ecf986ca"


def test_advertisements_pass_the_indexs_cut_and_posts_do_not() -> None:
    assert spam_score("", f"{ADDRESS} next 100x gem, join t.me/x") > 0.8
    assert spam_score("PRESALE LIVE", "fair launch, liquidity locked, discord.gg/abc") > 0.8
    assert spam_score("🚀🚀🚀", "🚀🚀🚀 airdrop 🚀🚀🚀 t.me/x") > 0.8
    assert spam_score("", f"why did {ADDRESS} get drained?") < 0.8
    assert spam_score("Chainlink", "sold the bottom again, see https://example.com/news. it will 10x without me") < 0.5
    assert spam_score("", "is it over? bought at 69k") == 0


def test_a_subreddit_is_no_referral() -> None:
    for link in ("https://www.reddit.com/r/CryptoCurrency/", "old.reddit.com/r/bitcoin/x", "/r/ethtrader", "r/Monero"):
        assert spam_score("", f"see {link}") == 0
    assert (
        spam_score("", "(https://www.reddit.com/r/CryptoCurrency/) cries about the airdrop. It could be a 100x.") < 0.8
    )
    for link in ("https://site.com/r/abc123", "site.io/ref/abc123", "https://reddit.com/?ref=abc123"):
        assert spam_score("", f"see {link}") == 0.55


@given(st.text(), st.text())
def test_a_spam_score_is_a_share(subject: str, text: str) -> None:
    assert 0 <= spam_score(subject, text) <= 1
    assert spam_score(subject, text) <= spam_score(subject, text[:5000] + " t.me/x")


@pytest.mark.parametrize("piece", ["0x", "a", "1", "?ref", "10 ", "x ", "🚀", "/", "join "])
def test_a_megabyte_of_hostile_characters_ends(piece: str) -> None:
    spam_score(piece * 1_000, piece * (1_000_000 // len(piece)))
    general_of(piece * (1_000_000 // len(piece)))


def test_a_thread_is_read_whole() -> None:
    thread = SourceThread(1, datetime(2025, 12, 1), "live", "/icpg/", "sold <wbr>my <b>BTC</b><br><span>&gt;mfw</span>")
    prepared = read_thread(thread)
    assert prepared.thread is thread
    assert prepared.text == "sold my BTC\n>mfw"
    assert prepared.general == "icpg"
    assert prepared.spam_score == 0
    assert [mention.coin_symbol for mention in prepared.mentions] == ["ICP", "BTC"]


def test_a_picture_without_words_is_read_too() -> None:
    prepared = read_thread(SourceThread(1, datetime(2025, 12, 1), "warosu"))
    assert (prepared.text, prepared.general, prepared.spam_score, prepared.mentions) == ("", None, 0.0, ())
