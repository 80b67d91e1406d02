"""Random changes of valid inputs, from bits to the structure of JSON. Each is a function of a random generator."""

import json
import math
from random import Random
from typing import Any

MOST_BYTES = 300_000
_BYTES = (
    b"\0",
    b"\xff",
    b"\xfe\xff",
    b"\xef\xbb\xbf",
    b"\r\n",
    b'"',
    b"'",
    b"\\",
    b"\xed\xa0\x80",
    b"\x80",
    b"\x1b[31m",
)
_WORDS = (
    *(b"null", b"true", b"NaN", b"-Infinity", b"1e999", b"-1", b"0", b"9223372036854775808", b"1" * 400, b"[", b"{"),
    *(b"]]>", b"<!--", b"</div>", b"<script>", b"&#0;", b"&#x110000;", b"../../etc/passwd", b"%00", b"\xe2\x80\xae"),
    *(b"=1+1", b"; DROP TABLE posts; --", b"{{7*7}}", b"\xf0\x9f\x9a\x80", b"1970-01-01", b"9999-12-31T23:59:59Z"),
    *(b"\xd9\xa1\xd9\xa2", b"0x10", b"1_000", b" ", b"\n\n"),
)
_VALUES: tuple[Any, ...] = (
    *(None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 0.5, -0.0, 1e308, math.nan, math.inf),
    *("", " ", "0", "-1", "NaN", "\0", "\ud800", "x" * 5_000, "2026-02-30", "1e999", "../x", "<b>", [], {}, [[]]),
    *([None], {"": None}, {"x": {"x": []}}, ["a", "a"], [1] * 300),
)


def mutated(rng: Random, seed: bytes, other: bytes) -> bytes:
    """Return ``seed`` with one to eight changes, sometimes with a piece of ``other`` in it."""
    content = bytearray(seed)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        change = rng.choice(_CHANGES)
        change(rng, content, other)
        del content[MOST_BYTES:]
    return bytes(content)


def mutated_json(rng: Random, seed: bytes) -> bytes:
    """Return the JSON document ``seed`` with one to four values or keys replaced, removed, repeated or moved."""
    document = json.loads(seed)
    for _ in range(rng.choice((1, 1, 2, 4))):
        document = _changed(rng, document)
    return json.dumps(document).encode()


def _flip(rng: Random, content: bytearray, _: bytes) -> None:
    if content:
        content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)


def _replace(rng: Random, content: bytearray, _: bytes) -> None:
    start, stop = _range(rng, content)
    content[start:stop] = rng.choice((rng.choice(_BYTES), rng.choice(_WORDS), rng.randbytes(rng.randint(1, 9))))


def _insert(rng: Random, content: bytearray, _: bytes) -> None:
    at = rng.randint(0, len(content))
    content[at:at] = rng.choice((rng.choice(_BYTES), rng.choice(_WORDS))) * rng.choice((1, 1, 1, 50))


def _cut(rng: Random, content: bytearray, _: bytes) -> None:
    del content[rng.randint(0, len(content)) :]


def _remove(rng: Random, content: bytearray, _: bytes) -> None:
    start, stop = _range(rng, content)
    del content[start:stop]


def _repeat(rng: Random, content: bytearray, _: bytes) -> None:
    start, stop = _range(rng, content)
    content[start:start] = content[start:stop] * rng.choice((1, 2, 20))


def _splice(rng: Random, content: bytearray, other: bytes) -> None:
    start, stop = _range(rng, content)
    first, last = _range(rng, other)
    content[start:stop] = other[first:last]


def _number(rng: Random, content: bytearray, _: bytes) -> None:
    """Write a number over some bytes, as in a length or an offset of a binary format."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice((0, 1, 2 ** (8 * size) - 1, 2 ** (8 * size - 1), rng.getrandbits(8 * size)))
    at = rng.randint(0, max(len(content) - size, 0))
    content[at : at + size] = value.to_bytes(size, rng.choice(("big", "little")))


_CHANGES = (_flip, _flip, _replace, _replace, _insert, _insert, _cut, _remove, _repeat, _splice, _number)


def _range(rng: Random, content: bytes | bytearray) -> tuple[int, int]:
    start = rng.randint(0, len(content))
    return start, min(start + rng.choice((1, 2, 4, 16, 200)), len(content))


def _changed(rng: Random, value: Any) -> Any:
    """Return ``value`` with a random place in it changed."""
    places = list(value) if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    if not places or rng.random() < 0.15:
        return rng.choice(_VALUES)
    place = rng.choice(list(places))
    found = dict(value) if isinstance(value, dict) else list(value)
    match rng.randrange(8):
        case 0:
            del found[place]
        case 1 if isinstance(found, dict):
            found[rng.choice(("", "\ud800", "x" * 300, *map(str, places)))] = found.pop(place)
        case 1:
            found.append(found[place])
        case _:
            found[place] = _changed(rng, found[place])
    return found
