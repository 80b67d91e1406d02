"""Which posts are copies of one another, by text or by picture, whenever they were posted.

Two posts are alike when their texts are nearly the same (text/duplicates.py), with or without the subject, or their
pictures are: equal SHA-256, equal MD5 or URL of the full picture, or perceptual hashes within a few bits
(warehouse/pictures.py). Characters that nobody sees, and others that only look different, do not count. A post
without text is like others by its picture alone.
"""

import unicodedata
from collections.abc import Iterator, Sequence

import numpy as np

from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.text.duplicates import Hashes, alike, equal_runs, resembles
from bizcharts_pipeline.warehouse.pictures import NEAR_BITS

_BITS = 64


def duplicate_groups(posts: Sequence[Post]) -> dict[int, int]:
    """Return the group of each post, by thread: the least thread of those that are alike, or linked by a chain of
    alike ones. Of nearly the same texts at the very limit of likeness one pair in 5,000 is missed.

    A thread may come more than once, with several texts; they are one.
    """
    posts = sorted(posts, key=lambda post: post.thread_id)
    bodies = [(place, text) for place, post in enumerate(posts) for text in post.texts[1:]]
    # Whole texts stand first, at the places of their posts, so that those name the groups.
    groups = alike([visible(text) for text in (*(post.whole_text for post in posts), *(text for _, text in bodies))])
    for number, (place, _) in enumerate(bodies, start=len(posts)):
        groups.unite(place, number)
    first: dict[tuple[str, str], int] = {}
    for place, post in enumerate(posts):
        for name in (("thread", str(post.thread_id)), *_picture_names(post)):
            groups.unite(first.setdefault(name, place), place)
    rated = [place for place, post in enumerate(posts) if _perceptual(post)]
    for one, other in _near_pairs(_perceptual_hashes([posts[place] for place in rated])):
        groups.unite(rated[one], rated[other])
    return {post.thread_id: posts[groups.of(place)].thread_id for place, post in enumerate(posts)}


def contaminated(posts: Sequence[Post], gold_posts: Sequence[Post]) -> set[int]:
    """Return the threads of those ``posts`` that are gold, or alike to a gold post: none of them may train.

    Exact: no pair is missed.
    """
    gold = {post.thread_id for post in gold_posts}
    names = {name for post in gold_posts for name in _picture_names(post)}
    found = {post.thread_id for post in posts if post.thread_id in gold or not names.isdisjoint(_picture_names(post))}
    texts = [(post.thread_id, visible(text)) for post in posts for text in post.texts]
    copied = resembles((text for _, text in texts), (visible(text) for post in gold_posts for text in post.texts))
    found.update(thread_id for (thread_id, _), copy in zip(texts, copied, strict=True) if copy)
    rated = [post for post in posts if _perceptual(post)]
    hashes = _perceptual_hashes(rated)
    for gold_hash in np.unique(_perceptual_hashes(gold_posts)):
        near = np.flatnonzero(np.bitwise_count(hashes ^ gold_hash) <= NEAR_BITS)
        found.update(rated[place].thread_id for place in near)
    return found


def visible(text: str) -> str:
    """Return ``text`` without characters that show nothing (Unicode category Cf), in compatible ones (NFKC)."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFKC", "".join(c for c in text if unicodedata.category(c) != "Cf"))


def _picture_names(post: Post) -> list[tuple[str, str]]:
    if post.picture is None:
        return []
    names = {"sha256": post.picture.sha256, "md5": post.picture.md5, "url": post.picture.url}
    return [(kind, name) for kind, name in names.items() if name]


def _perceptual(post: Post) -> str | None:
    return post.picture.perceptual_hash if post.picture else None


def _perceptual_hashes(posts: Sequence[Post]) -> Hashes:
    return np.array([int(text, 16) for post in posts if (text := _perceptual(post))], np.uint64)


def _near_pairs(hashes: Hashes) -> Iterator[tuple[int, int]]:
    """Yield the places of hashes within NEAR_BITS bits; cut into one piece more than that, such two share a piece."""
    different, back = np.unique(hashes, return_inverse=True)
    for run in equal_runs(hashes):
        yield from ((run[0], other) for other in run[1:])
    first = np.full(len(different), len(hashes))
    np.minimum.at(first, back, np.arange(len(hashes)))
    width = -(-_BITS // (NEAR_BITS + 1))
    for shift in range(0, _BITS, width):
        for run in equal_runs((different >> np.uint64(shift)) & np.uint64((1 << width) - 1)):
            values = different[run]
            for place in range(len(run) - 1):
                near = np.flatnonzero(np.bitwise_count(values[place + 1 :] ^ values[place]) <= NEAR_BITS)
                for other in near.tolist():
                    yield int(first[run[place]]), int(first[run[place + 1 + other]])
