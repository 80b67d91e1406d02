"""Near-duplicate detection: posts whose text repeats an earlier one.

Causal: a post joins the cluster of the earliest post of the previous 48 hours with nearly the same text (Jaccard
similarity of the 5-gram shingles at least 0.8), or founds its own. So later posts never change a cluster. Candidates
are found by MinHash and banding (Broder 1997; Leskovec, Rajaraman and Ullman, ch. 3), then compared exactly; at
similarity 0.8, one in 5,000 is missed.

This is for the index. Training needs similarity at any distance in time, in several forms of a text: :func:`forms`,
:func:`alike` and :func:`resembles`.
"""

import re
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import merge
from html import unescape
from itertools import groupby
from random import Random

import numpy as np
from numpy.typing import NDArray

from bizcharts_pipeline.text.cleaning import clean_text, without_marks

MEMORY = 48 * 3_600_000_000  # microseconds
SIMILAR = 0.8
SHINGLE = 5  # characters
# A text counts as contained in another if it has at least this many different shingles, and the other at most this many
# times as many. A short text, or one compared with a very long one, shares most of its shingles by chance.
LONG, MAX_GROWTH = 100, 4
# A post with a link and fewer words is compared by the link, one with fewer different letters by its picture.
FEW_WORDS, FEW_LETTERS = 4, 3
BANDS, ROWS = 16, 4
BATCH = 5_000  # texts per batch of key computation

Hashes = NDArray[np.uint64]

_URL = re.compile(r"(?:https?://|www\.)\S+")
_LINK_START = re.compile(r"^(?:https?://)?(?:www\.)?", re.IGNORECASE)
_DIGITS = re.compile(r"\d+")
_SPACE = re.compile(r"\s+")
_WORD = re.compile(r"[^\W_]+")
# What could be a link, an address or a file's name: a word with a dot, colon, slash or @ in it; or a very long word.
_LIKE_LINK = re.compile(r"\S*\w[.:/@]+\w\S*|\S{25,}")
_PRIME = np.uint64(0x100000001B3)
# Odd multipliers and offsets of the hash family x -> (a x + b) >> 32 (Dietzfelbinger's multiply-shift).
_RANDOM = Random(20_190_601)
_A = np.array([_RANDOM.getrandbits(64) | 1 for _ in range(BANDS * ROWS)], np.uint64)
_B = np.array([_RANDOM.getrandbits(64) for _ in range(BANDS * ROWS)], np.uint64)


@dataclass(frozen=True)
class Opening:
    """Data of an opening post for comparisons; ``cluster`` is ``None`` until it is assigned."""

    thread_id: int
    posted_at: int  # microseconds since 1970, UTC
    text: str  # subject and text
    image_md5: str | None
    cluster: int | None = None


class Groups:
    """Union-find over the indices 0 to ``size`` - 1. A group is identified by its smallest index."""

    def __init__(self, size: int) -> None:
        self._parents = list(range(size))

    def of(self, place: int) -> int:
        """Return the smallest index in the group of near-duplicate texts of ``place``."""
        while (parent := self._parents[place]) != place:
            self._parents[place] = self._parents[parent]
            place = parent
        return place

    def unite(self, one: int, other: int) -> None:
        """Merge the groups of two near-duplicate texts, given by index."""
        first, second = sorted((self.of(one), self.of(other)))
        self._parents[second] = first


def alike(texts: Sequence[str]) -> Groups:
    """Return the groups of near-duplicates among ``texts``, each given in one of its :func:`forms`.

    Texts are compared however far apart they are in the list. If A resembles B, and B resembles C, all three form one
    group. An empty text resembles no other. The time grows in proportion to the number of texts, unless they are
    crafted to prevent that.
    """
    groups = Groups(len(texts))
    first: dict[str, int] = {}
    for place, text in enumerate(texts):
        if text:
            groups.unite(first.setdefault(text, place), place)
    places = list(first.values())
    shingles = [_shingles(text) for text in first]
    if not places:
        return groups
    cuts = range(0, len(places), BATCH)
    keys = np.array([key for cut in cuts for key in _band_keys(shingles[cut : cut + BATCH])], np.uint64)
    for band in keys.T:
        for bucket in equal_runs(band):
            linked: dict[int, list[int]] = {}  # members of the bucket by group
            for one in bucket:
                for members in list(linked.values()):
                    apart = groups.of(places[members[0]]) != groups.of(places[one])
                    if apart and any(_similar(shingles[member], shingles[one]) for member in members):
                        groups.unite(places[members[0]], places[one])
                linked.setdefault(groups.of(places[one]), []).append(one)
    return groups


def resembles(texts: Iterable[str], originals: Iterable[str]) -> list[bool]:
    """Return, for each text, whether it is nearly the same as any of ``originals``, all in one of their :func:`forms`:
    a Jaccard similarity of :data:`SIMILAR`, or that share of the shorter text's shingles in the longer one (see
    :data:`LONG`).

    Exact, unlike the search for candidates: all pairs with a common shingle are counted. 100,000 texts and 200
    originals take half a minute.
    """
    known = [hashes for original in originals if len(hashes := _shingles(original))]
    if not known:
        return [False for _ in texts]
    sizes = np.array([len(hashes) for hashes in known])
    joined = np.concatenate(known)
    order = np.argsort(joined, kind="stable")
    joined, owners = joined[order], np.repeat(np.arange(len(known)), sizes)[order]
    verdicts = []
    for text in texts:
        own = _shingles(text)
        starts = np.searchsorted(joined, own, "left")
        lengths = np.searchsorted(joined, own, "right") - starts
        hits = np.repeat(starts - (np.cumsum(lengths) - lengths), lengths) + np.arange(lengths.sum())
        common = np.bincount(owners[hits], minlength=len(known))
        shorter, longer = np.minimum(sizes, len(own)), np.maximum(sizes, len(own))
        same = common >= SIMILAR * (sizes + len(own) - common)
        held = (common >= SIMILAR * shorter) & (shorter >= LONG) & (longer <= MAX_GROWTH * shorter)
        verdicts.append(bool(np.any(same | held)))
    return verdicts


def equal_runs(values: Hashes) -> Iterator[list[int]]:
    """Yield the ascending indices of each value, such as a hash of a text, that occurs more than once."""
    order = np.argsort(values, kind="stable")
    for run in np.split(order, np.flatnonzero(np.diff(values[order])) + 1):
        if len(run) > 1:
            yield run.tolist()


def normalise(text: str) -> str:
    """Return a post's ``text`` cleaned, in lower case, with single spaces, and links and numbers masked, as copies
    often differ only in those.
    """
    masked = _DIGITS.sub("0", _URL.sub("~", clean_text(text).lower()))
    return _SPACE.sub(" ", masked).strip()


def forms(text: str) -> frozenset[str]:
    """Return the forms in which ``text`` is compared, none for an empty text: :func:`normalise`, as copies often differ
    only in links and numbers; the letters including links and numbers, as others, such as the board's recurring
    threads, agree in little else; and the letters without them, regardless of punctuation, once with the links that
    are certain and once with all that could be one. All forms are without blanks, which some copies have between all
    letters, and without accents and other combining marks."""
    text = without_marks(unescape(text))
    masked, clean = normalise(text), clean_text(text).lower()
    without_links = _letters(_DIGITS.sub("0", _LIKE_LINK.sub(" ", clean)))
    return frozenset({_unspaced(masked), _letters(masked), _letters(clean), without_links} - {""})


def _unspaced(text: str) -> str:
    return text.replace(" ", "")  # the only white space in a normalised text


def _letters(text: str) -> str:
    return "".join(_WORD.findall(text))


def assign(openings: Sequence[Opening]) -> list[int]:
    """Return the cluster of near-duplicates of each opening post: the thread_id of its founder.

    ``openings`` are sorted by (posted_at, thread_id). A given ``cluster`` is kept. The result does not depend on how a
    stream is split, as long as each part is preceded by the previous 48 hours with their clusters.
    """
    compared = [_compared_by(opening) for opening in openings]
    shingles = [_shingles(text) for text, _ in compared]
    keys = _band_keys(shingles)
    known: defaultdict[int | str, deque[int]] = defaultdict(deque)
    clusters: list[int] = []
    for place, opening in enumerate(openings):
        buckets = [known[key] for key in keys[place] or compared[place][1]]
        for bucket in buckets:
            while bucket and openings[bucket[0]].posted_at < opening.posted_at - MEMORY:
                bucket.popleft()
        if opening.cluster is not None:
            clusters.append(opening.cluster)
        else:
            # Oldest first, up to the first similar one, which in a flood of copies is the very first.
            candidates = (earlier for earlier, _ in groupby(merge(*buckets)))
            twin = next((c for c in candidates if _similar(shingles[c], shingles[place])), None)
            clusters.append(opening.thread_id if twin is None else clusters[twin])
        for bucket in buckets:
            bucket.append(place)
    return clusters


def _compared_by(opening: Opening) -> tuple[str, list[str]]:
    """Return the text by which a post is compared; for a post with hardly any words, an empty text, and its links or
    else its picture."""
    clean = clean_text(opening.text)
    words = _WORD.findall(_URL.sub(" ", clean).lower())
    links = sorted({_LINK_START.sub("", link).rstrip("/") for link in _URL.findall(clean)})
    if links and len(words) < FEW_WORDS:
        return "", [f"link {' '.join(links)}"]
    if len(set("".join(words))) >= FEW_LETTERS or (words and not opening.image_md5):
        return _unspaced(normalise(opening.text)), []
    return "", [f"picture {opening.image_md5}"] if opening.image_md5 else []


def _shingles(text: str) -> Hashes:
    """Return the ascending hashes of the distinct 5-grams of ``text``; of a shorter text, the hash of all of it."""
    characters = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)
    if not len(characters):
        return characters
    width = min(SHINGLE, len(characters))
    hashed = np.zeros(len(characters) - width + 1, np.uint64)
    for shift in range(width):
        hashed = (hashed ^ characters[shift : len(characters) - width + 1 + shift]) * _PRIME
    return np.unique(hashed ^ (hashed >> np.uint64(29)))


def _band_keys(shingles: Sequence[Hashes]) -> list[list[int]]:
    """Return the band keys of each text: similar texts share at least one, most others none; an empty text has none."""
    sizes = np.array([len(hashes) for hashes in shingles], dtype=np.int64)
    filled = np.flatnonzero(sizes)
    keys: list[list[int]] = [[] for _ in shingles]
    if not len(filled):
        return keys
    joined = np.concatenate(shingles)
    starts = (np.cumsum(sizes) - sizes)[filled]
    signature = np.empty((len(filled), BANDS * ROWS), np.uint64)
    for function in range(BANDS * ROWS):
        hashed = (joined * _A[function] + _B[function]) >> np.uint64(32)
        signature[:, function] = np.minimum.reduceat(hashed, starts)
    bands = signature.reshape(len(filled), BANDS, ROWS)
    folded = np.zeros((len(filled), BANDS), np.uint64)
    for row in range(ROWS):
        folded = (folded ^ bands[:, :, row]) * _A[row]
    # The band's number is mixed in, so that keys of different bands never match.
    folded ^= np.arange(BANDS, dtype=np.uint64) * _B[0]
    for place, values in zip(filled.tolist(), folded.tolist(), strict=True):
        keys[place] = values
    return keys


def _similar(one: Hashes, other: Hashes) -> bool:
    """Return whether the Jaccard similarity reaches the threshold; two empty texts are similar."""
    if not len(one) or not len(other):
        return len(one) == len(other)
    if min(len(one), len(other)) < SIMILAR * max(len(one), len(other)):
        return False
    common = len(np.intersect1d(one, other, assume_unique=True))
    return common >= SIMILAR * (len(one) + len(other) - common)
