"""Splits a completion into tokens with log-probabilities, like OpenAI's newer tokenisers."""

import math
import re
from collections.abc import Sequence
from typing import Any

from bizcharts_pipeline.demo.label_apis.oracle import Verdict
from bizcharts_pipeline.labels.stances import STANCES

_CUT = {
    False: {"bearish": ("bear", "ish"), "neutral": ("neutral",), "bullish": ("bull", "ish")},
    True: {"bearish": ("b", "earish"), "neutral": ("neutral",), "bullish": ("b", "ullish")},
}
_PIECE = re.compile(r"bearish|neutral|bullish|[{}\[\]\":,]+|\s+|[^\s{}\[\]\":,]{1,5}")
_SURE = -1.2e-6
_LEAST = 1e-9
_NOISE = ("Bull", " bull", "mixed", '"', "NEUT", "un", "long", "b")  # other tokens among the most likely ones
_NOISE_SHARE = 2e-4


def tokens_of(text: str, shared_prefix: bool) -> list[str]:
    """Split ``text`` into tokens of a simulated completion; with ``shared_prefix``, 'bullish' and 'bearish' start with
    the same one."""
    cut = _CUT[shared_prefix]
    return [token for piece in _PIECE.findall(text) for token in cut.get(piece, (piece,))]


def as_logprobs(tokens: Sequence[str], verdict: Verdict, top: int, shared_prefix: bool) -> list[dict[str, Any]]:
    """Return ``logprobs.content`` of a simulated completion; the verdict's probabilities are at the token that decides
    the class."""
    chances = dict(zip(STANCES, verdict.probabilities, strict=True))
    cut = _CUT[shared_prefix]
    first: dict[str, float] = {}
    for stance, chance in chances.items():
        first[cut[stance][0]] = first.get(cut[stance][0], 0.0) + chance
    second = {cut[stance][1]: chances[stance] for stance in STANCES if len(cut[stance]) > 1}
    content = []
    before = ""
    for token in tokens:
        shares = {token: 1.0}
        if token in first:
            shares = {name: share * (1 - _NOISE_SHARE * 2) for name, share in first.items()}
            shares |= {name: _NOISE_SHARE / 2**rank for rank, name in enumerate(_NOISE) if name not in shares}
        elif shared_prefix and before == "b" and token in second:
            shares = {name: share / sum(second.values()) for name, share in second.items()}
        content.append(_entry(token, shares, top))
        before = token
    return content


def _entry(token: str, shares: dict[str, float], top: int) -> dict[str, Any]:
    likeliest = sorted(shares.items(), key=lambda entry: -entry[1])[:top]
    return _one(token, shares[token]) | {"top_logprobs": [_one(name, share) for name, share in likeliest]}


def _one(token: str, share: float) -> dict[str, Any]:
    logprob = math.log(max(share, _LEAST)) if share < 1 else _SURE
    return {"token": token, "logprob": logprob, "bytes": list(token.encode())}
