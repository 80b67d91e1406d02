"""Generals, spam and the whole reading of a thread."""

import csv
import gzip
import json
from datetime import datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.core.rows import SourceThread
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS, general_of
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.text.spam import spam_score


@pytest.mark.parametrize(
    ("subject", "general"),
    [
        ("/smg/ - Stock Market General", "smg"),
        ("/ICPG/ comfy edition", "icpg"),
        ("stock market general, monday edition", "smg"),
        ("CG/ - Crypto General 19", "cg"),
        ("/smg - stock market general", "smg"),
        ("/smart money/ - general", "smart money"),
        ("BBBYQ - New bath mats edition", "bbbyq"),
        ("Panmarket General", "panmarket"),
        ("LINK general #42: moon edition", "link"),
        ("YLYL /biz/ edition", None),
        ("Robbing the old general", None),
        ("Attorney General: charges filed", None),
        ("General Motors - earnings", None),
        ("In general, buy low", None),
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


CUT = FearGreedSettings().spam_cut
ADDRESS = "0x514910771af9ca656af840dff83e8264ecf986ca"


def test_advertisements_pass_the_indexs_cut_and_posts_do_not() -> None:
    assert spam_score("", f"{ADDRESS} next 100x gem, join t.me/x") > 0.8
    assert spam_score("PRESALE LIVE", "fair launch, liquidity locked, discord.gg/abc") > 0.8
    assert spam_score("🚀🚀🚀", "🚀🚀🚀 airdrop 🚀🚀🚀 t.me/x") > 0.8
    assert spam_score("", f"why did {ADDRESS} get drained?") < 0.8
    assert spam_score("Chainlink", "sold the bottom again, see https://example.com/news. it will 10x without me") < 0.5
    assert spam_score("", "is it over? bought at 69k") == 0


@pytest.mark.parametrize(
    "text",
    [
        "pump tonight https://discord.gg/aB3xYz",
        "our group: t.me/joinchat/AAAAAE5",
        "sign up here https://exchange.example/register?ref=Q7KD2",
        "Join ex.example with premium referral code E2Tdkm and get 10 coins",
        "CA: 7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr",
        "https://pump.fun/7GCihgDB8fe6KNjn2MYtkzZcRjQy3t9GHdC8uHYmW2hr",
        f"lost my job, please help a brother out with gas, rent is due and the bank will not answer: {ADDRESS}",
        f"{ADDRESS} thanks anons",
        "Join my trading channel for real signals",
    ],
)
def test_what_solicits_passes_the_cut_alone(text: str) -> None:
    assert spam_score("", text) >= 0.8


@pytest.mark.parametrize(
    "text",
    [
        "do not join discord.gg/aB3xYz, they dump on you",
        "anyone know a good telegram for LINK? is t.me/linkmarines legit?",
        "https://t.me/powerledger/147758 says they list tomorrow",
        "https://etherscan.io/address/0x22bd2859edc47103ff6df37ed549a594fef10a87 the team is selling",
        "https://news.example/story?ref=hackernews is a good read",
        "anyone have a referral code they want me to use?",
        "SELL ALL BTC SET ORDERS TO 4.9KFUUUUUUUUUUUUUUUUUUUUUUUUUUUUUCK",
        "the mods do not delete ''join our pump discord group''",
    ],
)
def test_talk_about_adverts_and_links_to_data_stay(text: str) -> None:
    assert spam_score("", text) < 0.8


def test_adverts_among_real_opening_posts_are_cut_and_little_else(shared_data: Path) -> None:
    """300 opening posts of 2017 and 2025, read one by one; only their numbers and verdicts are kept here."""
    with (Path(__file__).parent / "adverts_by_thread.csv").open() as file:
        adverts = {int(row["thread_id"]): row["advert"] == "1" for row in csv.DictReader(file)}
    posts: dict[int, tuple[str, str]] = {}
    with gzip.open(
        shared_data / "biz_posts" / "biz_threads_text_2017_part_a.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        for line in lines:
            thread = json.loads(line)
            posts[int(thread["thread_no"])] = "", thread["lines"][0]
    with (shared_data / "labels" / "biz_op_labels_2025_part_a.jsonl").open(encoding="utf-8") as lines:
        for line in lines:
            post = json.loads(line)
            posts[int(post["thread_id"])] = post["subject"] or "", post["text_snapshot"] or ""
    cut = {thread_id for thread_id in posts if spam_score(*posts[thread_id]) >= CUT}
    assert cut <= adverts.keys(), "all that are cut have been read"
    right = sum(adverts[thread_id] for thread_id in cut)
    assert right / len(cut) >= 0.95
    assert right / sum(adverts.values()) >= 0.85


def test_a_subreddit_is_no_referral() -> None:
    for link in ("https://www.reddit.com/r/CryptoCurrency/", "old.reddit.com/r/bitcoin/x", "/r/ethtrader", "r/Monero"):
        assert spam_score("", f"see {link}") == 0
    assert (
        spam_score("", "(https://www.reddit.com/r/CryptoCurrency/) cries about the airdrop. It could be a 100x.") < 0.8
    )
    for link in ("https://site.com/r/abc123", "site.io/ref/abc123", "https://reddit.com/?ref=abc123"):
        assert spam_score("", f"see {link}") >= 0.8


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
