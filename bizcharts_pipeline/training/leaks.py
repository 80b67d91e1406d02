"""Leak check: searches a data set's files on disk for gold posts.

It reads the files, not their sources, and measures similarity independently of the code that excludes gold
(labels/near_duplicates.py): with sets of 7-grams of the letters, with and without links and numbers. So it
detects a mistake there, or a file that was changed. Its shingles are longer and its threshold is higher, so that it
never fails on posts that the selection allows.
"""

import json
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

from bizcharts_pipeline.core.counted import counted, some_of
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular
from bizcharts_pipeline.labels.corpus import Post, load_posts
from bizcharts_pipeline.labels.gold import gold_content, known_gold
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.labels.undoing import gold_without_label
from bizcharts_pipeline.text.question import readable
from bizcharts_pipeline.training.sharegpt import ROWS, SPLITS, digest, read_rows
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.datasets import perceptual_hashes
from bizcharts_pipeline.warehouse.pictures import NEAR_BITS

GRAM = 7  # characters
COPIED = 0.85  # shared 7-grams / union of both texts; for two long texts of similar size / those of the shorter one
LONG, LIKE_SIZE = 150, 3  # minimum 7-grams of a long text; maximum size ratio of texts of similar size

_LINK = re.compile(r"(?:https?://|www\.)\S+")
_PERHAPS_LINK = re.compile(r"\S*[^\W_][.:/@]+[^\W_]\S*|[^\W_]{25,}")  # also without its beginning, or an address
_NUMBER = re.compile(r"\d+")
_WORD = re.compile(r"[^\W_]+")
_LETTER_SIGNS = ("NEGATIVE CIRCLED LATIN", "NEGATIVE SQUARED LATIN", "REGIONAL INDICATOR SYMBOL")
_FILLERS = "\u115f\u1160"  # of Hangul: letters according to Unicode, shown as a blank


def gold_leaks(database: Database, home: Path, folder: Path) -> list[str]:
    """Return every row of the training data set in ``folder`` that is a gold post or similar to one by text or picture.

    Compares thread numbers, texts as written, the posts' texts as now known, and pictures by content, perceptual hash,
    MD5 and URL. Unreadable files and gold of unknown content are returned too: an incomplete check does not pass.
    """
    try:
        rows = [(f"{split}.json, row {n}", row) for split in SPLITS for n, row in enumerate(read_rows(folder, split))]
        threads = [int(about["thread_id"]) for about in json.loads(read_regular(folder / ROWS))]
        written = [_text_of(row) for _, row in rows]
        pictures = {image: digest(read_regular(folder / image)) for _, row in rows for image in row["images"]}
    except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
        return [f"{folder} cannot be checked: {reason_of(error):.200}"]
    ledger = LabelLedger(home / LEDGER)
    with database.read() as connection:
        gold = known_gold(connection, ledger)
        posts = load_posts(connection, gold | set(threads))
        perceptual = perceptual_hashes(connection, set(pictures.values()))
    gold_posts = gold_content(posts, gold, ledger)
    known = [post for post in posts if post.thread_id in set(threads)]

    leaks = [f"thread {thread}: gold" for thread in threads if thread in gold]
    # A gold post without a label judges no model, so its copies do no harm.
    unknown = gold - {post.thread_id for post in gold_posts} - set(gold_without_label(ledger))
    if unknown:
        leaks.append(
            f"{counted(len(unknown), 'gold post')} unknown here, so that copies cannot be detected: import the days of "
            f"{some_of(sorted(map(str, unknown)))} from the archive, or undo the import of their labels"
        )
    seen = Copies(readable(None, text) for post in gold_posts for text in post.texts)
    leaks += [f"{place}: text of gold" for (place, _), text in zip(rows, written, strict=True) if seen.has(text)]
    untruncated = Copies(text for post in gold_posts for text in post.texts)
    leaks += [f"thread {post.thread_id}: text of gold" for post in known if any(map(untruncated.has, post.texts))]
    names = {name for post in gold_posts for name in _names(post)}
    leaks += [f"thread {post.thread_id}: picture of gold" for post in known if not names.isdisjoint(_names(post))]
    bits = [
        int(post.picture.perceptual_hash, 16) for post in gold_posts if post.picture and post.picture.perceptual_hash
    ]
    for image, sha256 in pictures.items():
        near = sha256 in perceptual and any(_near(int(perceptual[sha256], 16), other) for other in bits)
        if near or sha256 in names:
            leaks.append(f"{image}: picture of gold")
    return leaks


class Copies:
    """Index of texts by their 7-grams, for finding near-duplicates."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._sizes: list[int] = []
        self._holders: defaultdict[str, list[int]] = defaultdict(list)
        for number, grams in enumerate(grams for text in texts for grams in _grams(text)):
            self._sizes.append(len(grams))
            for gram in grams:
                self._holders[gram].append(number)

    def has(self, text: str) -> bool:
        """Whether a near-duplicate of ``text`` is among the texts that the leak check compares a data set with."""
        return any(self._has(grams) for grams in _grams(text))

    def _has(self, grams: set[str]) -> bool:
        shared = Counter(number for gram in grams for number in self._holders.get(gram, ()))
        for number, count in shared.items():
            shorter, longer = sorted((len(grams), self._sizes[number]))
            total = shorter if shorter >= LONG and longer <= LIKE_SIZE * shorter else shorter + longer - count
            if count >= COPIED * total:
                return True
        return False


def _grams(text: str) -> list[set[str]]:
    """Return the 7-grams of the letters of ``text``, and those without links (certain ones, and all that could be one)
    and with all numbers replaced by 0."""
    seen = "".join(_plain(c) for c in unescape(text) if not _is_unseen(c))
    decomposed = unicodedata.normalize("NFKD", seen)
    plain = "".join(c for c in decomposed if not unicodedata.combining(c) and c not in _FILLERS).casefold()
    without_links = (_NUMBER.sub("0", links.sub(" ", plain)) for links in (_LINK, _PERHAPS_LINK))
    joined = {"".join(_WORD.findall(each)) for each in (plain, *without_links)} - {""}
    return [{letters[at : at + GRAM] for at in range(max(1, len(letters) - GRAM + 1))} for letters in joined]


def _is_unseen(character: str) -> bool:
    if character.isascii():
        return False
    # Format characters; marks, variation selectors too; modifier letters, which lengthen others.
    return unicodedata.category(character) in ("Cf", "Mn", "Me", "Lm")


def _plain(character: str) -> str:
    """Return the letter of a sign: of a filled square or circle, or of a flag."""
    name = "" if character.isascii() else unicodedata.name(character, "")
    return name[-1] if name.startswith(_LETTER_SIGNS) else character


def _text_of(row: dict[str, Any]) -> str:
    """Return the post's text of a row: the part after the instruction's empty line."""
    return str(row["messages"][0]["content"]).partition("\n\n")[2]


def _names(post: Post) -> Iterator[str]:
    if post.picture:
        yield from filter(None, (post.picture.sha256, post.picture.md5, post.picture.url))


def _near(one: int, other: int) -> bool:
    return (one ^ other).bit_count() <= NEAR_BITS
