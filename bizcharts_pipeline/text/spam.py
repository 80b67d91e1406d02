"""How much a post looks like an advertisement, from its form alone."""

import re

from bizcharts_pipeline.text.cleaning import clean_text

# Only so much is looked at: a post of the board is far shorter.
MAX_CHARACTERS = 10_000

# Each marker's weight is the score of a post that shows nothing else. Set by judgement, so that one marker
# stays under the index's cut of 0.8, and a contract address with an invitation and a promise passes it.
_MARKERS: tuple[tuple[float, re.Pattern[str]], ...] = (
    (0.60, re.compile(r"\b0x[0-9a-f]{40}\b", re.IGNORECASE)),  # contract address, EVM
    (0.60, re.compile(r"(?<!\w)(?=[A-Za-z]{0,43}[0-9])[1-9A-HJ-NP-Za-km-z]{32,44}(?!\w)")),  # Solana
    (
        0.55,
        re.compile(r"\b(?:t\.me|telegram\.me|discord\.gg|discord(?:app)?\.com/invite|chat\.whatsapp\.com)/", re.I),
    ),
    (
        0.55,
        # "/r/" leads to a referral only behind a host: "/r/name" alone, or on Reddit and its mirrors, is a subreddit.
        re.compile(
            r"[?&](?:ref|referral|refcode|aff|invite|r)=\w|/(?:ref|referral|invite|join)/\w{4,}\b"
            r"|(?<!eddit)\.[a-z]{2,24}/r/\w{4,}\b",
            re.I,
        ),
    ),
    (
        0.50,
        re.compile(r"\b(?:referral|invite|promo) (?:code|link)\b|\bsign ?up (?:bonus|with my)\b", re.IGNORECASE),
    ),
    (
        0.50,
        re.compile(r"\b(?:pre-?sale|fair ?launch(?:ed|ing)?|stealth launch(?:ed|ing)?|whitelist(?:ed)?)\b", re.I),
    ),
    (
        0.45,
        re.compile(r"\b(?:join|check) (?:our|the|us on|my) (?:telegram|discord|tg)\b|\btg: ?@?\w", re.IGNORECASE),
    ),
    (
        0.45,
        re.compile(r"\b(?:liquidity (?:is )?locked|lp (?:is )?(?:locked|burn(?:ed|t))|renounced|unruggable)\b", re.I),
    ),
    (
        0.40,
        re.compile(r"\bairdrop|\bfree (?:money|crypto|tokens?|bitcoin|btc|eth)\b|\bgive ?away\b", re.IGNORECASE),
    ),
    (0.35, re.compile(r"\bx ?(?:[1-9]0|[1-9]000?)\b|\b[1-9]0{1,4} ?x\b", re.IGNORECASE)),
    (
        0.35,
        re.compile(r"\b(?:hidden|low ?cap|next 100x) gems?\b|\bgem alert\b|\bmicro ?cap\b|\bdon'?t miss out\b", re.I),
    ),
    (
        0.35,
        re.compile(r"\b(?:pump\.fun|dexscreener\.com|dextools\.io|pancakeswap\.finance|poocoin\.app)\b", re.I),
    ),
)
_EMOJI = re.compile("[\u2600-\u27bf\u2b50-\u2b55\U0001f300-\U0001faff]")
_EMOJI_WEIGHT = 0.6
_EMOJI_SHARE_AT_FULL_WEIGHT = 0.05  # of the characters


def spam_score(subject: str | None, text: str) -> float:
    """Return 0 (none of the marks of an advertisement) to just under 1 (nearly all of them).

    ``1 - prod(1 - weight)`` over the markers found: contract addresses, invitations, referrals, presale and
    multiple-promising phrases, and the density of emoji. Nothing is fitted; topic and stance play no part.
    """
    post = clean_text(f"{subject or ''}\n{text}")[:MAX_CHARACTERS]
    genuine = 1.0
    for weight, marker in _MARKERS:
        if marker.search(post):
            genuine *= 1 - weight
    if not post.isascii():
        share = len(_EMOJI.findall(post)) / len(post)
        genuine *= 1 - _EMOJI_WEIGHT * min(1.0, share / _EMOJI_SHARE_AT_FULL_WEIGHT)
    return 1 - genuine
