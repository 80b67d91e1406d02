"""Spam score: the likeness of a post to an advertisement, from its form alone, independent of topic and stance.

The index leaves out posts with a score of at least 0.8. A single solicitation reaches that: an invitation to a chat, a
sign-up link that pays the poster, a token's contract, a request for coins to an address. Typical advertising words
reach it only together. Posts that warn of an advertisement, or ask whether it is one, do not. docs/methodology.md has
measurements on real posts.
"""

import re

from bizcharts_pipeline.text.cleaning import clean_text, without_blank_looking

# Maximum length that is searched; real posts are far shorter.
MAX_CHARACTERS = 10_000


def _any(*patterns: str) -> re.Pattern[str]:
    return re.compile("|".join(patterns), re.IGNORECASE)


_EVM = r"0x[0-9a-f]{40}(?![0-9a-f])"
# Base58, as in Bitcoin, Dogecoin, Litecoin and Solana: both cases and two digits, but not a shout.
_BASE58 = (
    r"(?<![A-Za-z0-9])(?=[A-Za-z]*[0-9][A-Za-z]*[0-9])(?=[A-Z0-9]*[a-z])(?=[a-z0-9]*[A-Z])(?![A-Za-z0-9]*([A-Za-z])\1{4})"
    r"[1-9A-HJ-NP-Za-km-z]{32,44}(?![A-Za-z0-9])"
)
_ADDRESS = re.compile(rf"(?i:{_EVM})|{_BASE58}")
_URL = re.compile(r"(?:https?://|www\.)\S+", re.IGNORECASE)

_ALONE = 0.85  # weight of any of the following solicitations
_INVITATION = _any(
    r"\bdiscord\.(?:gg|io|me)/\s?\w",
    r"\bdiscord(?:app)?\.com/invite/\w",
    r"\bchat\.whatsapp\.com/\w",
    # `t.me/name/123` is a single message of a channel, and quoted like any other page.
    r"\b(?:t|telegram)\.me/\s?(?!s/|share\b)\+?\w++(?!/\d)",
)
_PAYS_ITS_GIVER = _any(
    # A code has a digit or a capital letter; `?ref=somesite` only tells where a link was found.
    r"[?&](?:ref|referral|referrer|refcode|ref_?id|aff|aff_?id|invite|invite_?code|mwr|r)=(?-i:(?=\w*[A-Z0-9])\w{2,})",
    r"\.[a-z]{2,24}(?:/[\w-]+)*/(?:ref|referral|invite)/\w{4,}\b",
    r"(?<!eddit)\.[a-z]{2,24}/r/\w{4,}\b",  # "/r/" is a subreddit on Reddit, its mirrors, and without a host
    r"\buse (?:my|this|our) (?:ref|refer+al|invite|promo)\b|\b(?:my|a) refer+al (?:code|link) ?:",
    r"\bwith (?:my |this )?(?:\w+ )?(?:refer+al|promo) code\b|\b(?:here'?s|here is) (?:my|a) refer+al\b",
)
_TRADED_CONTRACT = re.compile(
    r"\b(?:etherdelta\.(?:com|github\.io)|forkdelta\.\w+|idex\.market|pump\.fun|dexscreener\.com|dextools\.io|birdeye\.so"
    r"|poocoin\.app|raydium\.io|jup\.ag|app\.uniswap\.org|pancakeswap\.finance)/\S*?"
    rf"(?:{_EVM}|[1-9A-HJ-NP-Za-km-z]{{32,44}})",
    re.IGNORECASE,
)
_ASKS_FOR_COINS = _any(
    r"\b(?:send|sent|donat\w+|giv|give me|give us|spare|deposit|tip jar|help (?:a|me|out|them))\b",
    r"\b(?:pls|plz|please|charitable)\b",
)
_NAMES_CONTRACT = _any(r"\b(?:contract(?: address| code)?|ca|token address)\s{0,2}[:=]")
_RECRUITS = _any(
    r"(?<![\w'\"])(?:join|come to) (?:our|my|muh|us (?:on|at)|the official) (?:\w+ ){0,3}"
    r"(?:telegram|discord|tg|channel|chat|server|group)\b",
    r"^\W*join (?:the|this|a) (?:\w+ ){0,3}(?:pump|signals?|trading) (?:group|channel|discord|server)\b",
    r"\bfastest growing (?:pump|trading|signals?)\b",
    r"\bjoin (?:our|my|the) (?:telegram|discord|channel) (?:and|if|for|to)\b",
)
_WARNS_OR_ASKS = _any(
    r"\b(?:scam|scams|scammed|scammers?|beware|avoid|phishing|hacked|stolen|stay away)\b",
    r"\b(?:be safe|exit ?scam|fake|rug(?:ged|pull(?:ed)?)?)\b",
    r"\b(?:do not|don'?t|never|dont) (?:join|click|buy|use|send|trust|fall|sign)\b",
    r"\b(?:anyone|anybody|does someone|can someone|where|which|what|looking for|thoughts on) (?:\w+ ){0,6}"
    r"(?:have|has|know|link|invite|referral|good|legit|discord|telegram)\b[^\n]{0,40}\?",
)

# Each marker's weight is the score of a post that has no other marker; set by judgement.
_MARKERS: tuple[tuple[float, re.Pattern[str]], ...] = (
    (0.50, _any(r"\b(?:refer+al|invite|promo) (?:code|link)\b|\bsign ?up (?:bonus|with my)\b")),
    (0.50, _any(r"\b(?:pre-?sale|fair ?launch(?:ed|ing)?|stealth launch(?:ed|ing)?|whitelist(?:ed)?)\b")),
    (0.45, _any(r"\b(?:join|check) (?:our|the|us on|my) (?:telegram|discord|tg)\b|\btg: ?@?\w")),
    (0.45, _any(r"\b(?:liquidity (?:is )?locked|lp (?:is )?(?:locked|burn(?:ed|t))|renounced|unruggable)\b")),
    (0.40, _any(r"\bairdrop|\bfree (?:money|crypto|tokens?|bitcoin|btc|eth)\b|\bgive ?away\b")),
    (0.35, _any(r"\bx ?(?:[1-9]0|[1-9]000?)\b|\b[1-9]0{1,4} ?x\b")),
    (0.35, _any(r"\b(?:hidden|low ?cap|next 100x) gems?\b|\bgem alert\b|\bmicro ?cap\b|\bdon'?t miss out\b")),
    (0.35, _any(r"\b(?:pump\.fun|dexscreener\.com|dextools\.io|pancakeswap\.finance|poocoin\.app)\b")),
)
_ADDRESS_WEIGHT = 0.6
_LITTLE_BESIDE = 60  # characters besides an address; then the address is the purpose of the post
_WARNING_FACTOR = 0.5
_EMOJI = re.compile("[\u2600-\u27bf\u2b50-\u2b55\U0001f300-\U0001faff]")
_EMOJI_WEIGHT = 0.6
_EMOJI_SHARE_AT_FULL_WEIGHT = 0.05  # of the characters


def spam_score(subject: str | None, text: str) -> float:
    """Return how much a post looks like an advertisement, from 0 (no marks of one) to just under 1 (nearly all of
    them).

    ``1 - prod(1 - weight)`` over the markers found, halved if the post warns of an advertisement or asks whether it is
    one. No parameter is fitted. Characters that look like a blank are read as one, and as nothing; the higher score
    counts.
    """
    post = f"{subject or ''}\n{text}"
    return max(_score(clean_text(reading)[:MAX_CHARACTERS]) for reading in {post, without_blank_looking(post)})


def _score(post: str) -> float:
    genuine = 1.0
    for weight in _weights(post):
        genuine *= 1 - weight
    score = 1 - genuine
    return score * _WARNING_FACTOR if score and _WARNS_OR_ASKS.search(post) else score


def _weights(post: str) -> list[float]:
    found = [weight for weight, marker in _MARKERS if marker.search(post)]
    solicits = any(each.search(post) for each in (_INVITATION, _PAYS_ITS_GIVER, _TRADED_CONTRACT, _RECRUITS))
    words, addresses = _ADDRESS.subn(" ", _URL.sub(" ", post))  # an address within a link belongs to a page about it
    if addresses:
        little = len(words.strip()) <= _LITTLE_BESIDE and "?" not in words
        solicits = solicits or little or bool(_ASKS_FOR_COINS.search(words) or _NAMES_CONTRACT.search(words))
        found.append(_ADDRESS_WEIGHT)
    if solicits:
        found.append(_ALONE)
    if not post.isascii():
        share = len(_EMOJI.findall(post)) / len(post)
        found.append(_EMOJI_WEIGHT * min(1.0, share / _EMOJI_SHARE_AT_FULL_WEIGHT))
    return found
