"""Composes the opening posts of the simulated board from phrase banks."""

import html
import random
import re
from dataclasses import dataclass

from bizcharts_pipeline.demo import phrases
from bizcharts_pipeline.demo.mood import Stance

_IRONY = 0.08  # share of posts that say the opposite of what they mean
_CROSS_TALK = 0.15  # share of posts that quote the other side
_WORDLESS = 0.06  # share of posts without a meaningful text
_LONGEST_WORD = 35  # longer words get a <wbr> on the board
_SLOT = re.compile(r"\{(\w+)\}")
_COIN_WEIGHTS = [1 / rank for rank in range(1, len(phrases.COINS) + 1)]


@dataclass(frozen=True)
class Draft:
    """A written opening post. ``subject`` and ``html`` are as served by the API."""

    subject: str | None
    html: str
    coins: tuple[str, ...] = ()
    ironic: bool = False
    wordless: bool = False  # the text says nothing, the picture everything


def write_post(stance: Stance, rng: random.Random, wordless: float = _WORDLESS) -> Draft:
    """Write one simulated post of ``stance``, whose text says nothing with the probability ``wordless``."""
    filler = _Slots(rng)
    ironic = stance != "neutral" and rng.random() < _IRONY
    silent = rng.random() < wordless
    lines = [filler.fill(rng.choice(phrases.IMAGE_ONLY))] if silent else _lines(stance, ironic, filler, rng)
    subject = filler.fill(rng.choice(_bank(stance))) if rng.random() < 0.4 else None
    if subject is not None and rng.random() < 0.3:
        subject = subject.upper()
    return Draft(
        _escaped(subject[:100]) if subject else None,
        "<br>".join(_markup(line, rng) for line in lines),
        tuple(filler.coins),
        ironic,
        silent,
    )


def write_copypasta(stance: Stance, rng: random.Random) -> Draft:
    """Write the text of a simulated raid, which is posted repeatedly."""
    filler = _Slots(rng)
    text = filler.fill(rng.choice(phrases.COPYPASTA[stance]))
    return Draft(None, _markup(text, rng), tuple(filler.coins))


def write_general(index: int, rng: random.Random) -> tuple[str, Draft]:
    """Write the next thread of a simulated board's recurring general; also return its name."""
    name, title, text = phrases.GENERALS[index % len(phrases.GENERALS)]
    number = rng.randint(1000, 9999)
    link = f"https://boards.example/{name}/resources/{rng.getrandbits(64):016x}{rng.getrandbits(64):016x}"
    lines = [text, "", f"Resources: {link}", "", f"Previous: >>{rng.randint(59_000_000, 59_999_999)}"]
    subject = f"{title} #{number}, {rng.choice(phrases.EDITIONS)} edition"
    return name, Draft(_escaped(subject), "<br>".join(_markup(line, rng) for line in lines))


def _lines(stance: Stance, ironic: bool, filler: "_Slots", rng: random.Random) -> list[str]:
    bank = _bank(stance)
    lines = [filler.fill(template) for template in rng.sample(bank, rng.choice((1, 1, 2, 2, 3)))]
    if ironic:
        said = phrases.IRONIC_BULL if stance == "bearish" else phrases.IRONIC_BEAR
        lines = [f"{rng.choice(said)}, {rng.choice(phrases.IRONIC_TAILS)}", *lines[:1]]
    if rng.random() < _CROSS_TALK:
        other: Stance = rng.choice(("bullish", "bearish"))
        lines.append(f'"{filler.fill(rng.choice(_bank(other)))}" - {rng.choice(phrases.SLOTS["who"])}')
    if rng.random() < 0.35:
        story = rng.sample(phrases.GREENTEXT, rng.randint(2, 5))
        lines = [f">{filler.fill(line)}" for line in story] + lines
    if rng.random() < 0.5:
        lines += [filler.fill(line) for line in rng.sample(phrases.FILLERS, rng.choice((1, 1, 2)))]
    if rng.random() < 0.06:
        lines.append(f"https://charts.example/view/{rng.getrandbits(96):024x}/{filler.fill('{coin}').lower()}?range=1y")
    if rng.random() < 0.15:
        lines.insert(rng.randint(1, len(lines)), "")
    return lines


def _bank(stance: Stance) -> tuple[str, ...]:
    return {"bearish": phrases.BEARISH, "neutral": phrases.NEUTRAL, "bullish": phrases.BULLISH}[stance]


class _Slots:
    """Fills the slots of one post and records the coins that it names. A post mostly sticks to one coin."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._main = self._draw_coin()
        self.coins: list[str] = []

    def fill(self, template: str) -> str:
        return _SLOT.sub(lambda slot: self._value(slot[1]), template)

    def _value(self, slot: str) -> str:
        rng = self._rng
        match slot:
            case "coin":
                return self._coin(self._main)
            case "coin2":
                return self._coin(self._draw_coin())
            case "who2":
                return rng.choice(phrases.SLOTS["who"])
            case "pct":
                return str(rng.randint(3, 95))
            case "usd":
                return f"{rng.choice((1, 2, 5, 8, 12, 25, 40, 60, 75)) * 10 ** rng.randint(0, 4):,}"
            case "n":
                return str(rng.randint(2, 60) * rng.choice((10, 25, 50)))
            case "n2":
                return f"{rng.randint(2, 400) * 1000:,}"
            case "n3":
                return str(rng.randint(2, 12))
            case "n4":
                return str(rng.randint(19, 47))
        return rng.choice(phrases.SLOTS[slot])

    def _draw_coin(self) -> int:
        return self._rng.choices(range(len(phrases.COINS)), _COIN_WEIGHTS)[0]

    def _coin(self, index: int) -> str:
        ticker, names = phrases.COINS[index]
        if ticker not in self.coins:
            self.coins.append(ticker)
        return self._rng.choice(names)


def _escaped(text: str) -> str:
    return html.escape(text).replace("&#x27;", "&#039;")


def _markup(line: str, rng: random.Random) -> str:
    """Return a line as the board's HTML: greentext, quote links, occasionally a spoiler."""
    if quoted := re.fullmatch(r"(.*)>>(\d+)", line):
        return f'{_escaped(quoted[1])}<a href="#p{quoted[2]}" class="quotelink">&gt;&gt;{quoted[2]}</a>'
    escaped = " ".join(_broken(word) for word in line.split(" "))
    if line.startswith(">"):
        return f'<span class="quote">{escaped}</span>'
    return f"<s>{escaped}</s>" if line and rng.random() < 0.015 else escaped


def _broken(word: str) -> str:
    if len(word) <= _LONGEST_WORD:
        return _escaped(word)
    parts = (word[start : start + _LONGEST_WORD] for start in range(0, len(word), _LONGEST_WORD))
    return "<wbr>".join(map(_escaped, parts))
