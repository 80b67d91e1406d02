"""Generals: the board's standing threads, named by a tag such as ``/smg/`` in the subject."""

import re

from bizcharts_pipeline.text.cleaning import clean_text

# Not about crypto: stocks, commodities, metals, cards, property, options, jobs, single companies' shares.
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


def general_of(subject: str | None) -> str | None:
    """Return the tag of the general that a subject names, in lower case (``'smg'``), or ``None``.

    The first tag between slashes counts, other boards' names do not; some generals are also known spelled
    out.
    """
    if not subject:
        return None
    subject = clean_text(subject)[:500].lower()
    if "/" in subject:
        for tag in _TAG.findall(subject):
            if tag not in _NOT_GENERALS:
                return str(tag)
    if "general" in subject:
        return next((tag for name, tag in _SPELLED_OUT if name in subject), None)
    return None
