"""Generals: the board's recurring threads, named by a tag such as ``/smg/`` in the subject."""

import re

from bizcharts_pipeline.text.cleaning import clean_text

# Not about crypto: stocks, commodities, metals, cards, property, options, jobs, shares of single companies.
# fmt: off
NON_CRYPTO_GENERALS = frozenset({
    "amc", "bbbq", "bbby", "bbbyq", "bhsg", "cg401k", "cmmg", "divvy", "dmg", "domaing", "ecom",
    "ecommerce", "forex", "fxg", "gme", "gold", "jpbiz", "lgt", "metals", "neet", "opg", "optg",
    "peeler", "pennyg", "pg", "pmg", "psg", "reg", "rhg", "sbg", "silver", "smg", "tcg", "tcgg", "ug",
    "uraniumg", "wagie", "wfh", "wsg",
})
# fmt: on

_TAG = re.compile(r"(?<![\w/])/([a-z0-9]{2,10})/(?!\w)")
# fmt: off
_NOT_GENERALS = frozenset({
    "a", "adv", "b", "bant", "biz", "ck", "d", "fa", "fiction", "fit", "g", "his", "int", "k", "lit",
    "mu", "o", "out", "pol", "qa", "r9k", "s4s", "sci", "sp", "tg", "toy", "trash", "tv", "v", "vg",
    "vt", "x",
})
# fmt: on
_SPELLED_OUT = (
    ("stock market general", "smg"),
    ("precious metals general", "pmg"),
    ("tcg general", "tcg"),
    ("prediction market general", "pg"),
)


# Spelled out, without a tag: "Panmarket General", "AI Deniers General #3", "Link General: moon edition".
_SPELLED = re.compile(r"^(?:the )?((?:[\w&'.]+ ){1,3})general(?: thread)?\s*(?:$|[-:|#(/\d]|\b[^\n]*\bedition\b)")
_NOT_NAMES = frozenset(
    {"a", "an", "attorney", "in", "major", "my", "old", "our", "secretary", "surgeon", "surveyor", "this", "your"}
)
# A tag with a missing slash at the start of the subject: "CG/ - Crypto General", "/smg - stock market general".
_HALF_TAG = re.compile(r"^(?:/([a-z0-9]{2,10})|([a-z0-9]{2,10})/)\s*[-:|]*\s.*\b(?:general|edition)\b")
# A name in capitals, and the edition: "BBBYQ - new bath mats edition".
_EDITION = re.compile(r"^/?([A-Z0-9]{2,10})/?\s*[-:|]\s.*\b[Ee][Dd][Ii][Tt][Ii][Oo][Nn]\b")
_WORDS_TAG = re.compile(r"^/([a-z0-9]+(?: [a-z0-9]+){1,2})/")  # "/smart money/"


def general_of(subject: str | None) -> str | None:
    """Return the tag of the general in a subject, in lower case (``'smg'``), or ``None``.

    The first tag between slashes counts, except names of other boards. Without one: the spelled-out names of some
    generals, a tag with a missing slash, a name in capitals before an "edition", and "<name> General", with the name as
    tag.
    """
    if not subject:
        return None
    posted = " ".join(clean_text(subject)[:500].split())
    subject = posted.lower()
    if "/" in subject:
        for tag in _TAG.findall(subject):
            if tag not in _NOT_GENERALS:
                return str(tag)
    if "general" in subject:
        for name, tag in _SPELLED_OUT:
            if name in subject:
                return tag
    for found in (_WORDS_TAG.match(subject), _HALF_TAG.match(subject), _EDITION.match(posted)):
        if found:
            tag = found[found.lastindex or 0].lower()
            if tag not in _NOT_GENERALS:
                return tag
    spelled = _SPELLED.match(subject)
    if spelled and not _NOT_NAMES & set(words := spelled[1].split()):
        return " ".join(words)
    return None
