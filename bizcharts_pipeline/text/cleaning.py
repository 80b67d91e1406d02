"""One form for texts that look alike: what is read, counted or compared is cleaned first.

The lexicon, the spam score, the search for coins and generals, duplicate groups and likeness to gold all read
:func:`clean_text` of a post. It is applied where a text is read and never stored: `thread_ops` and the label ledger
keep what was posted, people and vision models see that, and rows of earlier versions need no migration.
"""

import re
import unicodedata

MAX_REMEMBERED = 20_000  # characters; then the table starts anew, so that no flood of rare ones fills the memory
MAX_MARKS = 30  # in a row, as in Unicode's Stream-Safe Text Format: sorting them takes quadratic time

_REPLACEMENTS = {
    # Quotation marks, apostrophes, accents typed as apostrophes, and primes.
    **dict.fromkeys("`´‘’‚‛‹›′‵ʹʻʼʽˈˊˋ՚׳❛❜❟", "'"),
    **dict.fromkeys("“”„‟«»″‶ʺˮ״❝❞❠〝〞〟⹂", '"'),
    # Hyphens, minus signs and the en dash stand for "-"; longer dashes separate words, with or without blanks.
    **dict.fromkeys("\N{HYPHEN}\N{NON-BREAKING HYPHEN}\N{FIGURE DASH}\N{EN DASH}\N{MINUS SIGN}\N{HYPHEN BULLET}", "-"),
    **dict.fromkeys("\N{EM DASH}\N{HORIZONTAL BAR}\N{TWO-EM DASH}\N{THREE-EM DASH}", " - "),
    **dict.fromkeys("⁓∼〜～", "~"),
    "\N{MIDLINE HORIZONTAL ELLIPSIS}": "...",
    "\N{FRACTION SLASH}": "/",
    # NFKC would glue letters to a name ("BitcoinTM"), or make a negation of a sign ("No").
    **dict.fromkeys("™℠", ""),
    "№": "#",
    # Line ends of other systems; blanks that Unicode does not count as white space.
    **dict.fromkeys("\x85\u2028\u2029", "\n"),
    **dict.fromkeys("\u1680\u2800\u115f\u1160\u3164\uffa0", " "),
}
# Neither control nor format characters, yet nothing is seen of them (Default_Ignorable_Code_Point): variation
# selectors above all.
_INVISIBLE = frozenset(
    map(chr, (0x034F, 0x17B4, 0x17B5, *range(0x180B, 0x1810), *range(0xFE00, 0xFE10), *range(0xE0000, 0xE1000)))
)
_INVISIBLE_CATEGORIES = {"Cc", "Cf", "Cs"}  # control; format (zero-width, bidirectional, tags); half a surrogate pair

_NOT_ASCII = re.compile(r"[^\x00-\x7f]+")
# No combining mark is alphanumeric or white space.
_MAYBE_TOO_MANY_MARKS = re.compile(rf"[^\w\s\x00-\x7f]{{{MAX_MARKS + 1},}}")


def clean_text(text: str) -> str:
    """Return ``text`` in the form in which texts that look alike are equal.

    Compatible characters become one (NFKC: full-width and styled letters, ligatures, exotic blanks); what cannot be
    seen goes (zero-width and bidirectional characters, tags, variation selectors, the joiners of emoji); typographic
    quotes, dashes and the ellipsis become those of a keyboard. Letters of other alphabets stay what they are.
    Idempotent, linear in the length, and any string is taken. ASCII is returned as it is, but for the backtick.
    """
    text = text.replace("`", "'")
    if text.isascii():
        return text
    text = _NOT_ASCII.sub(_replace, text)
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", _MAYBE_TOO_MANY_MARKS.sub(_without_excess_marks, text))


def without_marks(text: str) -> str:
    """Return ``text`` without accents and other combining marks, such as a stroke through every letter."""
    if text.isascii():
        return text
    return _bare(unicodedata.normalize("NFD", _bare(text)))  # first, as sorting many in a row takes quadratic time


def _bare(text: str) -> str:
    return "".join(character for character in text if unicodedata.category(character) not in ("Mn", "Me"))


class _Table(dict[int, str]):
    """Code point to its replacement, for :meth:`str.translate`; worked out at first sight."""

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
        # An accent that stands alone would become a blank with an accent on it.
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
