"""Which posts are worth a label: those that say what no labelled post says already."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups


class News:
    """Tells posts that say something new from copies of what is labelled, or gold, or asked already.

    ``cluster_id`` looks back for two days only. Two posts with a text are copies by their texts, as the same picture
    stands beside many; what is gold is told by the picture too.
    """

    def __init__(self, posts: Sequence[Post], labelled: Collection[int], gold: Collection[int]) -> None:
        self._posts = {post.thread_id: post for post in posts}
        self._gold = [post for post in posts if post.thread_id in gold]
        self._seen = _by_text(post for post in posts if post.thread_id in labelled)

    def of(self, threads: Sequence[int], *, always: Sequence[int] = ()) -> set[int]:
        """Return the new ones of ``threads``: of those that are copies of each other the first, and ``always``."""
        posts = [self._posts[thread] for thread in threads]
        told = _by_text(posts)
        copies = contaminated(posts, self._gold) | contaminated(told, self._seen)
        groups = duplicate_groups(told)
        first: dict[int, int] = {}
        for thread in threads:
            if thread in always or thread not in copies:
                first.setdefault(groups[thread], thread)
        return {*first.values()}


def _by_text(posts: Iterable[Post]) -> list[Post]:
    return [replace(post, picture=None) if post.whole_text else post for post in posts]
