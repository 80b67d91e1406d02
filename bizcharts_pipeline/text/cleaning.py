"""Canonical form of a text: texts that look alike become equal before they are scored, counted or compared.

The lexicon, the spam score, the search for coins and generals, duplicate groups and similarity to gold all read
:func:`clean_text` of a post. It is applied on reading and never stored: `thread_ops` and the label ledger keep the
original, which people and vision models see, and rows of earlier versions need no migration.
"""

import re
import unicodedata

MAX_REMEMBERED = 20_000  # characters; then the table is cleared, so that a flood of rare ones cannot fill the memory
MAX_MARKS = 30  # consecutive, as in Unicode's Stream-Safe Text Format: sorting them takes quadratic time

# Shown as a blank, though not white space according to Unicode.
_BLANK_LOOKING = "\u1680\u2800\u115f\u1160\u3164\uffa0\U0001d159"

_REPLACEMENTS = {
    # Quotation marks, apostrophes, accents typed as apostrophes, and primes.
    **dict.fromkeys("`´‘’‚‛‹›′‵ʹʻʼʽˈˊˋ՚׳❛❜❟", "'"),
    **dict.fromkeys("“”„‟«»″‶ʺˮ״❝❞❠〝〞〟⹂", '"'),
    # Hyphens, minus signs and the en dash become "-"; longer dashes separate words, with or without blanks.
    **dict.fromkeys("\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{MINUS SIGN}\N{HYPHEN BULLET}", "-"),
    **dict.fromkeys("\N{EM DASH}\N{HORIZONTAL BAR}\N{TWO-EM DASH}\N{THREE-EM DASH}", " - "),
    **dict.fromkeys("⁓∼〜～", "~"),
    "\N{MIDLINE HORIZONTAL ELLIPSIS}": "...",
    "\N{FRACTION SLASH}": "/",
    # NFKC would append letters to a name ("BitcoinTM"), or turn a sign into a negation ("No").
    **dict.fromkeys("™℠", ""),
    "№": "#",
    **dict.fromkeys("\x85\u2028\u2029", "\n"),  # line ends of other systems
    **dict.fromkeys(_BLANK_LOOKING, " "),
}
# Invisible, though neither control nor format characters (Default_Ignorable_Code_Point): mainly variation selectors.
_INVISIBLE = frozenset(
    map(chr, (0x034F, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)))
)
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs"}  # control; format (zero-width, bidirectional, tags); half a surrogate pair

# Letters in filled circles, in filled squares and of flags, which have no compatible letter in Unicode.
_BOXED = {first + place: chr(ord("a") + place) for first in (0x1F150, 0x1F170, 0x1F1E6) for place in range(26)}

_REMOVE_BLANK_LOOKING = str.maketrans("", "", _BLANK_LOOKING)
_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# No combining mark is alphanumeric or white space.
_MAYBE_TOO_MANY_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{MAX_MARKS + 1},}}")


def clean_text(text: str) -> str:
    """Return ``text``, such as a post's, in canonical form, in which texts that look alike are equal.

    Compatible characters are unified (NFKC: full-width and styled letters, ligatures, exotic blanks). Invisible
    characters are removed (zero-width and bidirectional characters, tags, variation selectors, the joiners of emoji).
    Typographic quotes, dashes and the ellipsis become ASCII. Letters of other alphabets are kept. Idempotent, linear in
    the length, and accepts any string. ASCII text is unchanged, except for the backtick.
    """
    text = text.replace("`", "'")
    if text.isascii():
        return text
    text = _NOT_ASCII.sub(_replace, text)
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MAYBE_TOO_MANY_MARKS.sub(_without_excess_marks, text))


def without_blank_looking(text: str) -> str:
    """Return a post's ``text`` without the characters that only look like a blank: they may hide a word by splitting
    it.
    """
    return text if text.isascii() else text.translate(_REMOVE_BLANK_LOOKING)


def without_marks(text: str) -> str:
    """Return a post's ``text`` without accents and other combining marks, such as a stroke through every letter,
    without modifier letters, such as one that lengthens every letter, and with the letters of signs like a B in a
    square.
    """
    if text.isascii():
        return text
    # Marks are also removed first, as sorting many consecutive ones takes quadratic time.
    return _bare(unicodedata.normalize("NFD", _bare(text.translate(_BOXED))))


def _bare(text: str) -> str:
    return "".join(character for character in text if unicodedata.category(character) not in ("Mn", "Me", "Lm"))


class _Table(dict[int, str]):
    """Cache from code point to its replacement, for :meth:`str.translate`."""

    def __missing__(self, code: int) -> str:
        if len(self) >= MAX_REMEMBERED:
            self.clear()
        replacement = self[code] = _replacement(chr(code))
        return replacement


_TABLE = _Table()


def _replacement(character: str) -> str:
    if character.isascii():
        return _REPLACEMENTS.get(character, character)
    if (known := _REPLACEMENTS.get(character)) is not None:
        return known
    if character in _INVISIBLE or unicodedata.category(character) in _INVISIBLE_CATEGORIES:
        return ""
    for form in ("NFC", "NFKC"):
        other = unicodedata.normalize(form, character)
        # A standalone accent would become a blank with an accent on it.
        if other != character and not (len(other) > 1 and other[0] == " "):
            return "".join(map(_replacement, other))
    return character


def _replace(match: re.Match[str]) -> str:
    return match.group().translate(_TABLE)


def _without_excess_marks(match: re.Match[str]) -> str:
    kept, marks = [], 0
    for character in match.group():
        marks = marks + 1 if unicodedata.combining(character) else 0
        if marks <= MAX_MARKS:
            kept.append(character)
    return "".join(kept)
