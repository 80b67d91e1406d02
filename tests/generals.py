"""Made-up standing threads ("generals"), and near-copies of them as the board and a forger would make them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from random import Random

# fmt: off
_SYLLABLES = [
    "ba", "co", "di", "fu", "ga", "hen", "jor", "kel", "lim", "mo", "nar", "pos", "que", "rim", "sut", "tel", "ung",
    "vor", "wes", "xan", "yor", "zed",
]
# fmt: on


@dataclass(frozen=True)
class General:
    """A standing thread: subject, edition, and sections of a title with lines of links and words."""

    subject: str
    edition: str
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        return "\n".join([self.edition, "", *self.lines])


def general(rng: Random, sections: int = 6) -> General:
    """Return a general that has nothing in common with others but its form."""
    tag = words(rng, 1)[:3]
    lines = []
    for _ in range(sections):
        lines.append(f">{words(rng, 5)}:")
        lines += [f"{link(rng)} {words(rng, 1)}" for _ in range(rng.randint(2, 4))]
        lines.append(f'{words(rng, 4)}, it\'s "{words(rng, 3)}" - {words(rng, 3)}...')
    return General(f"/{tag}/ - {words(rng, 2)} general #{rng.randint(1, 4000)}", edition(rng), tuple(lines))


def words(rng: Random, count: int) -> str:
    return " ".join("".join(rng.choices(_SYLLABLES, k=rng.randint(2, 3))) for _ in range(count))


def link(rng: Random) -> str:
    letters = "".join(rng.choices("abcdefghijkmnpqrstuvwxyzABCDEFGH123456789_", k=11))
    return f"https://www.{words(rng, 1)}.com/watch?v={letters}"


def edition(rng: Random) -> str:
    return f"{words(rng, rng.randint(2, 4))} edition #{rng.randint(1, 4000)}"


def _new_links(rng: Random, of: General) -> General:
    lines = [f"{link(rng)} {line.split()[-1]}" if line.startswith("https") else line for line in of.lines]
    return replace(of, lines=tuple(lines))


def _reordered_links(rng: Random, of: General) -> General:
    links = [place for place, line in enumerate(of.lines) if line.startswith("https")]
    lines = list(of.lines)
    for place, source in zip(links, rng.sample(links, len(links)), strict=True):
        lines[place] = of.lines[source]
    return replace(of, lines=tuple(lines))


def _removed_lines(rng: Random, of: General) -> General:
    gone = set(rng.sample(range(len(of.lines)), len(of.lines) // 12))
    return replace(of, lines=tuple(line for place, line in enumerate(of.lines) if place not in gone))


def _added_lines(rng: Random, of: General) -> General:
    lines = list(of.lines)
    for _ in range(len(of.lines) // 2):
        lines.insert(rng.randint(0, len(lines)), f"{words(rng, 4)} {link(rng)}")
    return replace(of, lines=tuple(lines))


def _typographic(rng: Random, of: General) -> General:
    table = {'"': rng.choice("“”«„"), "'": rng.choice("’´‘"), "-": rng.choice("—–"), " ": rng.choice(" \u00a0\u2009")}
    lines = ["".join(table.get(letter, letter) for letter in line).replace("...", "…") for line in of.lines]
    return replace(of, lines=tuple(lines))


def _invisible(rng: Random, of: General) -> General:
    hidden = rng.choice("\u200b\u200c\u2060\u00ad\ufeff")
    return replace(of, lines=tuple(hidden.join(line) for line in of.lines))


def _full_width(rng: Random, of: General) -> General:
    wide = {code: code + 0xFEE0 for code in range(0x41, 0x7B)}
    lines = [line if line.startswith("https") else line.translate(wide) for line in of.lines]
    return replace(of, lines=tuple(lines))


def _marked(rng: Random, of: General) -> General:
    mark = rng.choice("\u0334\u0336\u0301\u20dd")
    lines = ["".join(letter + mark if letter.isalpha() else letter for letter in line) for line in of.lines]
    return replace(of, lines=tuple(lines))


def _spaced(rng: Random, of: General) -> General:
    """A blank, or what looks like one, between the letters of all words but links."""
    blank = rng.choice(" \u2800\u3164\uffa0\u115f\U0001d159")

    def spaced(line: str) -> str:
        return " ".join(word if word.startswith("http") else blank.join(word) for word in line.split(" "))

    return replace(of, subject=spaced(of.subject), lines=tuple(map(spaced, of.lines)))


def _embedded(rng: Random, of: General) -> General:
    lines = [line.replace(" ", " [Embed] ", 1) if line.startswith("https") else line for line in of.lines]
    return replace(of, lines=tuple(lines))


CHANGES: Mapping[str, Callable[[Random, General], General]] = {
    "another edition": lambda rng, of: replace(of, edition=edition(rng), subject=of.subject + edition(rng)),
    "without a subject": lambda rng, of: replace(of, subject=""),
    "other links": _new_links,
    "links in another order": _reordered_links,
    "lines removed": _removed_lines,
    "lines added": _added_lines,
    "typographic": _typographic,
    "invisible characters": _invisible,
    "full-width letters": _full_width,
    "other punctuation": lambda rng, of: replace(of, lines=tuple(line.replace(">", "* ") + " !!" for line in of.lines)),
    "a mark on every letter": _marked,
    "[Embed] behind links": _embedded,
    "blanks between letters": _spaced,
}
