"""Finds the coins that a post mentions: a dictionary of tokens, and rules from certain to doubtful.

The dictionary is ``data/coins.csv``: ``symbol``, ``name``, ``symbol_zipf`` (Zipf frequency of the lower-cased symbol in
English, from wordfreq), ``name_is_word``, ``symbol_clash`` (``stock``: also a stock's ticker or a market's
abbreviation; ``word``: has another meaning on this board; ``never``: so often that only the cashtag or the name counts)
and ``aliases``, with a ``?`` after those that need a crypto cue.
"""

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from bizcharts_pipeline.core.rows import Mention
from bizcharts_pipeline.text.cleaning import clean_text
from bizcharts_pipeline.text.generals import NON_CRYPTO_GENERALS, general_of

# A symbol at least as frequent in English as one word in 300,000 counts as a word unless a cue is nearby.
WORD_ZIPF = 3.5
CUE_DISTANCE = 6  # tokens to either side
_NEIGHBOURHOOD = 8  # tokens on either side that are checked for a headline or capitals
MAX_CHARACTERS = 20_000  # of a post; the rest is not searched
MAX_CONTEXT = 500  # characters

CONFIDENCE = {
    "cashtag": 1.0,
    "name": 0.95,
    "alias": 0.9,
    "symbol": 0.9,
    "general": 0.9,
    "name_with_cue": 0.7,
    "alias_with_cue": 0.7,
    "symbol_with_cue": 0.7,
}

# fmt: off
CUES = frozenset({
    "airdrop", "altcoin", "altcoins", "alts", "bag", "bagholder", "bagholders", "bags", "bearish",
    "binance", "blockchain", "bought", "btfd", "bull", "bullish", "bullrun", "buy", "buying", "cex",
    "chain", "chart", "coin", "coinbase", "coins", "crypto", "cryptos", "dapp", "defi", "dex", "dip",
    "dump", "dumped", "dumping", "eoy", "erc20", "exchange", "gwei", "hodl", "hodling", "hold",
    "holder", "holders", "holding", "holdings", "ico", "kraken", "kucoin", "ledger", "mainnet",
    "marine", "marines", "marketcap", "mcap", "memecoin", "memecoins", "metamask", "mining", "moon",
    "mooning", "nft", "oracle", "oracles", "portfolio", "pump", "pumped", "pumping", "rug", "sats",
    "sell", "selling", "shitcoin", "shitcoins", "sold", "stack", "staked", "staker", "stakers",
    "staking", "swap", "testnet", "tge", "token", "tokenomics", "tokens", "usd", "usdc", "usdt",
    "wallet", "wallets", "whale", "whales", "whitepaper", "x10", "x100", "x2", "yield",
})
# fmt: on

_TOKEN = re.compile(r"\$?[A-Za-z0-9]+")
_TO_SPACES = {code: " " for code in range(128) if not (chr(code).isalnum() or chr(code) == "$")}
# URLs, e-mail addresses, domains and names of wallets ("name.eth"): text inside them mentions no coin. A domain without
# scheme and path is recognised by its ending, as "sold my btc.then it rose" only lacks a blank.
_ADDRESS = re.compile(
    r"""[a-z]{2,12}://\S+
    | \bwww\.\S+
    | (?<![\w.+-])[\w.+-]{1,64}@[a-z0-9-]{1,63}\.\S+
    | (?<![\w.@-])(?:[\w-]{1,63}\.){1,8}(?:
        (?:com|org|net|io|info|co|ai|app|xyz|dev|gg|fi|finance|exchange|network|news|market|trade|trading|money|fun
          |wiki|pro|club|online|site|tech|biz|tv|us|uk|de|eu|ru|cn|jp|ca|ch|fr|nl|au|example)(?!\w)(?:[/:?\#]\S*)?
        | (?-i:eth|sol|crypto|nft)(?!\w)
        | (?-i:[a-z]{2,24})/\S+
    )""",
    re.VERBOSE | re.IGNORECASE,
)
_BLANK = re.compile(r"\s")
_SENTENCE_ENDS = ("\n", ". ", "! ", "? ")
_SENTENCE_END = re.compile(r"\n|[.!?] ")
# Words in the names of many coins, which are bad keys for a look-up by name.
_FILLERS = CUES | {
    *("cash", "core", "dao", "digital", "finance", "gold", "money", "network"),
    *("old", "platform", "power", "project", "protocol", "the", "world"),
}


class _Entry(NamedTuple):
    """One spelling of a coin, indexed by its rarest token, with the tokens before and after it."""

    symbol: str
    source: str
    before: tuple[str, ...] = ()
    behind: tuple[str, ...] = ()
    needs_cue: bool = False
    capitalised: bool = False  # must be capitalised
    stock: bool = False


def find_mentions(subject: str | None, text: str) -> tuple[Mention, ...]:
    """Return the coins that a post mentions, in order of mention, each with its most certain mention.

    Rules, from certain to doubtful: cashtag, full name, general in the subject, alias, symbol in capitals, and, only
    with a crypto cue within ``CUE_DISTANCE`` tokens, names, aliases and symbols that are also ordinary words. A symbol
    does not count among words in capitals or in a thread about stocks or metals; a capitalised word does not count in a
    headline; a lower-case word is never an ambiguous symbol. Nothing counts inside a URL, an e-mail address or a
    domain. ``context`` is the sentence or line of the mention in the cleaned text. Linear in the post's length.
    """
    subject = clean_text(subject or "")
    post = f"{subject}\n{clean_text(text)}"[:MAX_CHARACTERS]
    spaced = f" {post.encode('ascii', 'replace').decode().translate(_TO_SPACES)} "
    words = spaced.split()
    nothing = _entries().keys().isdisjoint(words)
    general = general_of(subject)
    if nothing and general is None:
        return ()
    best: dict[str, Mention] = {}
    if general and (coin := _coin_of_general(general)):
        best[coin] = Mention(coin, CONFIDENCE["general"], "general", subject.strip()[:MAX_CONTEXT])
    if not nothing:
        tokens = _Post(post, spaced, words, general in NON_CRYPTO_GENERALS)
        for coin, source in tokens.mentions():
            known, confidence = best.get(coin), CONFIDENCE[source]
            if known is None or confidence > known.confidence:
                best[coin] = Mention(coin, confidence, source, tokens.context())
    return tuple(best.values())


class _Post:
    """A tokenised post, with the tests of a token's context.

    ``spaced`` is the text with a space for every character outside tokens and one more at either end: token ``i`` is
    between spaces in it, so its position is found without matching every token.
    """

    def __init__(self, text: str, spaced: str, words: list[str], non_crypto: bool) -> None:
        self._text = text
        self._spaced = spaced
        self._words = words
        self._non_crypto = non_crypto
        self._start = 0  # position of the current token in the text
        self._end = -1
        self._chunk_end = 0  # end of the current chunk, which is delimited by blanks
        self._addresses: list[tuple[int, int]] = []  # addresses in the chunk, the last one first

    def mentions(self) -> Iterator[tuple[str, str]]:
        """Yield the coin and the rule of each mention in the post's text."""
        entries = _entries()
        taken = 0  # tokens before this one already belong to a mention
        for i in [i for i, word in enumerate(self._words) if word in entries]:
            word = self._words[i]
            self._start = self._spaced.index(f" {word} ", self._end + 1)
            self._end = self._start + len(word)
            if self._in_an_address():
                continue
            for entry in entries[word]:
                first, end = i - len(entry.before), i + 1 + len(entry.behind)
                if (
                    first >= taken
                    and self._is_complete(entry, first, i, end)
                    and self._is_plausible(entry, first, i, end)
                ):
                    taken = end
                    yield entry.symbol, entry.source + ("_with_cue" if entry.needs_cue else "")
                    break

    def _is_complete(self, entry: _Entry, first: int, i: int, end: int) -> bool:
        if not entry.before and not entry.behind:
            return True
        around = (*self._words[first:i], *self._words[i + 1 : end])
        return tuple(word.lower() for word in around) == entry.before + entry.behind

    def _is_plausible(self, entry: _Entry, first: int, i: int, end: int) -> bool:
        if entry.source == "cashtag":
            return not (entry.stock and self._non_crypto)
        if entry.source == "symbol" and (self._non_crypto or self._part_of_a_word() or self._shouted(i)):
            return False
        if entry.capitalised and (not self._words[i][0].isupper() or self._titled(i) or self._shouted(i)):
            return False
        return not entry.needs_cue or (not self._non_crypto and self._cue_near(first, end))

    def _cue_near(self, first: int, end: int) -> bool:
        near = self._words[max(0, first - CUE_DISTANCE) : first] + self._words[end : end + CUE_DISTANCE]
        own = self._words[first].lower()
        certain = _certain_forms()
        return any(word[0] == "$" or word in certain or word.lower() in CUES for word in near if word.lower() != own)

    def _neighbours(self, i: int, least: int) -> list[str]:
        """Return the words of at least ``least`` letters around token ``i`` that are not coins themselves."""
        near = self._words[max(0, i - _NEIGHBOURHOOD) : i + _NEIGHBOURHOOD + 1]
        return [word for word in near if len(word) >= least and word.isalpha() and word not in _entries()]

    def _shouted(self, i: int) -> bool:
        """Return whether the words around token ``i`` are in capitals, so that its own capitals mean nothing."""
        words = self._neighbours(i, 2)
        return 2 * sum(map(str.isupper, words)) > len(words)

    def _titled(self, i: int) -> bool:
        """Return whether token ``i`` is in a headline, so that its capital letter means nothing."""
        words = self._neighbours(i, 4)
        return len(words) > 2 and sum(word[0].isupper() for word in words) > 0.7 * len(words)

    def _in_an_address(self) -> bool:
        """Return whether the token is part of a URL, an e-mail address or a domain that is not itself a coin's name."""
        if self._start >= self._chunk_end:
            start = self._start
            while start > self._chunk_end and not self._text[start - 1].isspace():
                start -= 1
            blank = _BLANK.search(self._text, self._end)
            self._chunk_end = blank.start() if blank else len(self._text)
            self._addresses = []
            if "." in self._text[start : self._chunk_end] or "://" in self._text[start : self._chunk_end]:
                found = _ADDRESS.finditer(self._text, start, self._chunk_end)
                self._addresses = [m.span() for m in found if m.group().lower() not in _names_like_domains()][::-1]
        while self._addresses and self._addresses[-1][1] <= self._start:
            self._addresses.pop()
        return bool(self._addresses) and self._addresses[-1][0] <= self._start

    def _part_of_a_word(self) -> bool:
        """Return whether the token is part of something longer: an address, ``U.S.``, a contraction, a path."""
        before = self._text[self._start - 1] if self._start else " "
        after = self._text[self._end : self._end + 2]
        if before in "._-&@=%#'" or before.isalpha():
            return True
        return after[:1] in {"_", "@", "=", "&"} or (after[:1] == "." and after[1:].islower())

    def context(self) -> str:
        """Return the sentence or line of the coin's mention that was yielded last."""
        low, high = max(0, self._start - MAX_CONTEXT // 2), self._end + MAX_CONTEXT // 2
        before = max([self._text.rfind(mark, low, self._start) for mark in _SENTENCE_ENDS])
        end = _SENTENCE_END.search(self._text, self._end, high)
        return self._text[before + 1 if before >= 0 else low : end.start() + 1 if end else high].strip()


@dataclass(frozen=True, slots=True)
class _Coin:
    symbol: str
    name: str
    symbol_zipf: float
    name_is_word: bool
    symbol_clash: str
    aliases: tuple[str, ...]


@cache
def _coins() -> tuple[_Coin, ...]:
    lines = files(__package__).joinpath("data/coins.csv").read_text(encoding="utf-8").splitlines()
    return tuple(
        _Coin(
            row["symbol"],
            row["name"],
            float(row["symbol_zipf"]),
            row["name_is_word"] == "yes",
            row["symbol_clash"],
            tuple(alias for alias in row["aliases"].split("|") if alias),
        )
        for row in csv.DictReader(lines)
    )


@cache
def _names_like_domains() -> frozenset[str]:
    """Return the coin names that look like domains, such as Fetch.ai."""
    return frozenset(coin.name.lower() for coin in _coins() if "." in coin.name)


def coin_names() -> frozenset[tuple[str, ...]]:
    """Return the names and aliases of all coins, each as lower-case words; they carry no sentiment."""
    phrases = (phrase.rstrip("?") for coin in _coins() for phrase in (coin.name, *coin.aliases))
    return frozenset(tuple(phrase.lower().split()) for phrase in phrases)


def _ways_to_write(coin: _Coin) -> Iterator[tuple[str, _Entry]]:
    """Yield each spelling of ``coin`` with its rule: symbols as written, names and aliases in any case."""
    stock = coin.symbol_clash == "stock"
    for spelling in {f"${coin.symbol}", f"${coin.symbol.lower()}", f"${coin.symbol.capitalize()}"}:
        yield spelling, _Entry(coin.symbol, "cashtag", stock=stock)
    needs_cue = coin.symbol_zipf >= WORD_ZIPF or bool(coin.symbol_clash)
    if coin.symbol_clash != "never":
        yield coin.symbol, _Entry(coin.symbol, "symbol", needs_cue=needs_cue, stock=stock)
    phrases = [(coin.name, "name", coin.name_is_word, coin.name_is_word)]
    phrases += [(alias.rstrip("?"), "alias", alias.endswith("?"), False) for alias in coin.aliases]
    for phrase, source, cue, capitalised in phrases:
        tokens = _TOKEN.findall(phrase)
        key = 0
        if len(tokens) > 1:
            key = max(range(len(tokens)), key=lambda k: (tokens[k].lower() not in _FILLERS, len(tokens[k])))
        lower = tuple(token.lower() for token in tokens)
        entry = _Entry(coin.symbol, source, lower[:key], lower[key + 1 :], cue, capitalised)
        for spelling in {tokens[key], lower[key], tokens[key].upper(), tokens[key].capitalize()}:
            yield spelling, entry


@cache
def _entries() -> dict[str, tuple[_Entry, ...]]:
    """Return the entries of each token, as written: longer ones first, then the more certain."""
    by_token: dict[str, list[_Entry]] = {}
    for coin in _coins():
        for spelling, entry in _ways_to_write(coin):
            by_token.setdefault(spelling, []).append(entry)
    return {token: tuple(sorted(entries, key=_rank)) for token, entries in by_token.items()}


def _rank(entry: _Entry) -> tuple[int, float, str]:
    source = entry.source + ("_with_cue" if entry.needs_cue else "")
    return -len(entry.before) - len(entry.behind), -CONFIDENCE[source], entry.symbol


@cache
def _certain_forms() -> frozenset[str]:
    """Return the single tokens that mention a coin without a cue; near an ambiguous one, they are a cue themselves."""
    return frozenset(
        token
        for token, entries in _entries().items()
        if any(not (entry.before or entry.behind or entry.needs_cue) for entry in entries)
    )


@cache
def _coin_of_general(general: str) -> str | None:
    """Return the coin of a general: ``icpg`` and ``icp`` mean ICP. The tag must contain a symbol or a single-word coin
    name."""
    if general in NON_CRYPTO_GENERALS:
        return None
    known = {"xsg": "XRP", "lmg": "LINK", "xmrg": "XMR", "btcg": "BTC", "ethg": "ETH"}
    names = {coin.symbol.lower(): coin.symbol for coin in _coins()}
    names |= {coin.name.lower(): coin.symbol for coin in _coins()}
    return known.get(general) or names.get(general.removesuffix("g")) or names.get(general)
