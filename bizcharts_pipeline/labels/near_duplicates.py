"""Detection of near-duplicate posts, by text or by picture, at any distance in time.

Two posts are near-duplicates if their texts are nearly equal in any of their forms (text/duplicates.py): with or
without links and numbers, with or without the subject, complete or as given to a model; or if their pictures are: equal
SHA-256, equal MD5 or URL of the full picture, or perceptual hashes within a few bits (warehouse/pictures.py). Posts
without text are compared by picture only.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.text.duplicates import Hashes, alike, equal_runs, forms, resembles
from bizcharts_pipeline.text.question import readable
from bizcharts_pipeline.warehouse.pictures import NEAR_BITS

_BITS = 64


def duplicate_groups(posts: Sequence[Post]) -> dict[int, int]:
    """Return, for posts labelled or to label, the group of near-duplicates of each, by thread: the smallest thread of
    all linked by a chain.

    Of texts exactly at the similarity threshold, one pair in 5,000 is missed. A thread may occur several times with
    different texts; all belong to one group.
    """
    posts = sorted(posts, key=lambda post: post.thread_id)
    compared = [(place, form) for place, post in enumerate(posts) for form in sorted(_forms(post))]
    # The first indices are those of the posts, so that posts name the groups.
    groups = alike([*("" for _ in posts), *(form for _, form in compared)])
    for number, (place, _) in enumerate(compared, start=len(posts)):
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
    """Return the threads of those ``posts`` that are gold or near-duplicates of a gold post: none may be used for
    training.

    Exact: no pair is missed. A long text that contains most of another long text counts as its near-duplicate too.
    """
    gold = {post.thread_id for post in gold_posts}
    names = {name for post in gold_posts for name in _picture_names(post)}
    found = {post.thread_id for post in posts if post.thread_id in gold or not names.isdisjoint(_picture_names(post))}
    compared = [(post.thread_id, form) for post in posts if post.thread_id not in found for form in _forms(post)]
    copied = resembles((form for _, form in compared), {form for post in gold_posts for form in _forms(post)})
    found.update(thread_id for (thread_id, _), copy in zip(compared, copied, strict=True) if copy)
    rated = [post for post in posts if _perceptual(post)]
    hashes = _perceptual_hashes(rated)
    for gold_hash in np.unique(_perceptual_hashes(gold_posts)):
        near = np.flatnonzero(np.bitwise_count(hashes ^ gold_hash) <= NEAR_BITS)
        found.update(rated[place].thread_id for place in near)
    return found


def _forms(post: Post) -> set[str]:
    """Return the forms of all texts that a copy of ``post`` may have; truncated texts match more often than complete
    ones.
    """
    texts = {text for full in post.texts for text in (full, readable(None, full))}
    return {form for text in texts for form in forms(text)}


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
    """Yield index pairs of hashes within ``NEAR_BITS`` bits.

    Of ``NEAR_BITS`` + 1 pieces of two such hashes, at least one is equal (pigeonhole principle).
    """
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
