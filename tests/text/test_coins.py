"""A mention is what a reader of the board would call one."""

import csv
import gzip
import json
from collections import Counter
from importlib.resources import files
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bizcharts_pipeline.text.cleaning import clean_text
from bizcharts_pipeline.text.coins import CONFIDENCE, find_mentions


def found(text: str, subject: str = "") -> dict[str, str]:
    return {mention.coin_symbol: mention.mention_source for mention in find_mentions(subject, text)}


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("sold it all for $LINK and $link", {"LINK": "cashtag"}),
        ("is chainlink finished?", {"LINK": "name"}),
        ("Internet Computer will flip it", {"ICP": "name"}),
        ("stinky linkies everywhere", {"LINK": "alias"}),
        ("my XMR, my rules", {"XMR": "symbol"}),
        ("never selling my LINK bags", {"LINK": "symbol_with_cue"}),
        ("BTC and LINK today", {"BTC": "symbol", "LINK": "symbol_with_cue"}),
        ("thanks for bitcoin MOTHER FUCKING forks", {"BTC": "name"}),  # a word at every distance from a cue
        ("DEGEN on $SOL", {"SOL": "cashtag"}),
        ("(BTC/ETH) at 0.03", {"BTC": "symbol", "ETH": "symbol"}),
        ("eth is dead, btc next", {"ETH": "alias", "BTC": "alias"}),
        ("Avalanche is the only chain I would buy", {"AVAX": "name_with_cue"}),
    ],
)
def test_the_ladder_from_cashtag_to_cue(text: str, mentions: dict[str, str]) -> None:
    assert found(text) == mentions


@pytest.mark.parametrize(
    "text",
    [
        "post the link please, anon",
        "LINK to the article below",
        "I will NOT buy that coin, it is ONE big joke, OP",
        "buy link now",  # lower case, a word: never
        "an avalanche of sellers, buy the dip",
        "THEY WANT YOU TO BUY SAND AND GAS AND TRUMP AND CORE",
        "www.link.com and GAS_PRICE=3 and x@SOL.de",
        "mail user@eth.org",
        "write to the bitcoin.team@ledger-btc.net",
        "vitalik.eth posted again",
        "www.xrp-giveaway.example",
        "claim at get-bitcoin.com or solana.com/airdrop, or https://x.org/a?q=$LINK#ethereum",
        "(see x.com/ethereum/status/1)",
        "ipfs://monero/solana",
        "ALL OF THIS WILL GO TO ZERO AND THE FLOW OF COINS STOPS",
        "0x514910771af9ca656af840dff83e8264ecf986ca",
        "",
    ],
)
def test_words_are_not_coins(text: str) -> None:
    assert found(text) == {}


@pytest.mark.parametrize(
    ("text", "mentions"),
    [
        ("I hold Fetch.ai", {"FET": "name"}),  # named like a domain
        ("fetch.ai/blog says so", {}),
        ("sold my btc.then it rose", {"BTC": "alias"}),
        ("https://ethereum.org bought XMR", {"XMR": "symbol"}),
        ("eth. btc! (xmr)", {"ETH": "alias", "BTC": "alias", "XMR": "alias"}),
    ],
)
def test_only_what_stands_outside_addresses_is_a_mention(text: str, mentions: dict[str, str]) -> None:
    assert found(text) == mentions


def test_stock_and_metal_threads_name_coins_only_by_name() -> None:
    assert found("COMP and SAND are up, buy more, holding my LINK", subject="/smg/ - Stock Market General") == {}
    assert found("bitcoin is a stock now", subject="/smg/") == {"BTC": "name"}
    assert found("bought $SOL", subject="/pmg/ - Precious Metals General") == {"SOL": "cashtag"}


def test_a_coins_own_general_mentions_it() -> None:
    assert found("comfy", subject="/icpg/ - Internet edition") == {"ICP": "general"}
    assert found("comfy", subject="/xsg/ XRP Schizo General #2515") == {"XRP": "general"}


def test_each_coin_counts_once_by_its_most_certain_mention() -> None:
    (mention,) = find_mentions("my bags", "LINK is dumping, sold my link marines bags.\nI mean $LINK")
    assert (mention.coin_symbol, mention.mention_source, mention.confidence) == ("LINK", "cashtag", 1.0)
    assert mention.context == "I mean $LINK"


def test_the_context_is_the_sentence_or_greentext_line() -> None:
    mentions = {
        m.coin_symbol: m.context
        for m in find_mentions(None, ">bought BTC\nok. XMR is fine! And SOL, wallet empty? yes")
    }
    assert mentions == {"BTC": ">bought BTC", "XMR": "XMR is fine!", "SOL": "And SOL, wallet empty?"}


@given(st.text(), st.text() | st.text(alphabet="$LINKBTCbuy \n.!?'’ \ud800é"))
def test_any_post_can_be_searched(subject: str, text: str) -> None:
    mentions = find_mentions(subject, text)
    assert len({mention.coin_symbol for mention in mentions}) == len(mentions)
    for mention in mentions:
        assert mention.confidence == CONFIDENCE[mention.mention_source]
        assert mention.context in f"{clean_text(subject)}\n{clean_text(text)}"


@pytest.mark.parametrize(
    "piece",
    ["$", "LINK ", "link marine ", "A", "$LINK", "🚀", ". ", "\n", "/icpg/", "digital ", "eth.", "a.", "@", "eth@a."],
)
def test_a_megabyte_of_hostile_characters_ends(piece: str) -> None:
    find_mentions(piece * 1_000, piece * (1_000_000 // len(piece)))


def test_the_coin_list_is_consistent() -> None:
    with files("bizcharts_pipeline.text").joinpath("data/coins.csv").open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(lines))
    assert 300 <= len(rows) <= 600
    assert len({row["symbol"] for row in rows}) == len(rows)
    assert {row["symbol_clash"] for row in rows} <= {"", "stock", "word", "never"}
    assert {row["name_is_word"] for row in rows} == {"yes", "no"}
    aliases = Counter(alias.rstrip("?").lower() for row in rows for alias in row["aliases"].split("|") if alias)
    assert [alias for alias, n in aliases.items() if n > 1] == []


def test_the_boards_words_in_capitals_are_no_coins(shared_data: Path) -> None:
    """Tickers that a naive scan of 2020 took for coins; alone in a sentence none of them is one."""
    with (shared_data / "biz_posts" / "biz_symbol_mentions_2020-09.csv").open(encoding="utf-8") as lines:
        symbols = next(csv.reader(lines))[1:]
    words = {
        "READ",
        "HELP",
        "TOP",
        "REAL",
        "STOP",
        "NOW",
        "ONE",
        "NEXT",
        "MORE",
        "LINK",
        "OK",
        "KEEP",
        "GAS",
        "TIME",
        "OG",
    }
    assert words & set(symbols) > {"READ", "NOW", "LINK"}
    for symbol in words & set(symbols):
        assert found(f"this is {symbol} what they said to me") == {}


def test_the_favourites_of_2017_are_found(shared_data: Path) -> None:
    coins: Counter[str] = Counter()
    with gzip.open(
        shared_data / "biz_posts" / "biz_threads_text_2017_part_a.jsonl.gz", "rt", encoding="utf-8"
    ) as lines:
        for _, line in zip(range(1_500), lines, strict=False):
            coins.update(m.coin_symbol for m in find_mentions("", "\n".join(json.loads(line)["lines"])))
    assert {"BTC", "BCH", "ETH", "LINK"} <= {symbol for symbol, _ in coins.most_common(6)}
