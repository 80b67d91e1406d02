"""Novelty filter: excludes posts that are near-duplicates of posts already labelled, gold or selected."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from bizcharts_pipeline.labels.corpus import Post
from bizcharts_pipeline.labels.near_duplicates import contaminated, duplicate_groups


class NoveltyFilter:
    """Distinguishes new posts from copies of labelled or gold posts.

    ``cluster_id`` looks back for two days only. Two posts with text are compared by their texts only, because the same
    picture occurs with many texts; copies of gold are detected by picture too.
    """

    def __init__(self, posts: Sequence[Post], labelled: Collection[int], gold: Collection[int]) -> None:
        self._posts = {post.thread_id: post for post in posts}
        self._gold = [post for post in posts if post.thread_id in gold]
        self._seen = _by_text(post for post in posts if post.thread_id in labelled)

    def new_among(self, threads: Sequence[int], *, always: Sequence[int] = ()) -> set[int]:
        """Return those of ``threads`` that are new to the labellers, of each group of copies the first; ``always`` are
        not compared with labelled posts.
        """
        posts = [self._posts[thread] for thread in threads]
        comparable = _by_text(posts)
        copies = contaminated(posts, self._gold) | contaminated(comparable, self._seen)
        groups = duplicate_groups(comparable)
        first: dict[int, int] = {}
        for thread in threads:
            if thread in always or thread not in copies:
                first.setdefault(groups[thread], thread)
        return {*first.values()}


def _by_text(posts: Iterable[Post]) -> list[Post]:
    return [replace(post, picture=None) if post.whole_text else post for post in posts]
