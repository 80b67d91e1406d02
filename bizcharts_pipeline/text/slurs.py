"""Masks slurs in a text that is to be shown.

The list is one of common spellings, not a judgement of a text: what is spelt otherwise stays, and a masked word may be
harmless in its place. It is stored in ROT13, so that nobody who reads the program has to read it.
"""

import codecs
import re

MASK = "•"

# A word that begins with one of these is a slur, however it ends.
_STEMS = (
    "avtt a1tt aytt sntt xvxr xlxr genaavr cnwrrg cbbwrrg jrgonpx fnaqavt fuvgfxva zhqfyvzr enturnq "
    "gbjryurnq wvtnobb mvccreurnq fynagrlr pheelavt xnssve"
)
# These are slurs alone or in the plural; longer words that begin so may be harmless.
_WORDS = (
    "snt fcvp puvax tbbx genaal gebba wrrg cnxv ornare pbba tbl tblvz zhmmvr qlxr ergneq ergneqrq gneq qvaqh phag "
    "juber fyhg"
)


def _pattern() -> re.Pattern[str]:
    stems, words = ("|".join(map(re.escape, codecs.encode(each, "rot13").split())) for each in (_STEMS, _WORDS))
    return re.compile(rf"\b(?:(?:{stems})\w{{0,20}}|(?:{words})(?:e?s|z)?)\b", re.IGNORECASE)


_SLURS = _pattern()


def mask_slurs(text: str) -> str:
    """Return ``text`` with each slur's letters after the first as ``•``; the length stays."""
    return _SLURS.sub(lambda found: found[0][0] + MASK * (len(found[0]) - 1), text)
