"""Correction of wrong times in the archive, from neighbouring posts whose pictures reveal the error."""

from collections.abc import Iterable
from dataclasses import replace

from bizcharts_pipeline.archive.markup import WRONG_BY_SECONDS
from bizcharts_pipeline.archive.page import ArchivedPost


def correct_times(posts: Iterable[ArchivedPost]) -> list[ArchivedPost]:
    """Return the archived ``posts`` by number, with their times corrected; posts without a picture name are corrected
    like the posts around them.

    Numbers are assigned in the order of time. If the neighbours before and after differ, or neither correction fits,
    the correction is used that places the time between theirs.
    """
    ordered = sorted(posts, key=lambda post: post.number)
    after: list[ArchivedPost | None] = [None] * len(ordered)
    following: ArchivedPost | None = None
    for place in range(len(ordered) - 1, -1, -1):
        after[place] = following
        if _is_shown(ordered[place]):
            following = ordered[place]
    result: list[ArchivedPost] = []
    previous: ArchivedPost | None = None
    for post, following in zip(ordered, after, strict=True):
        if _is_shown(post):
            previous = post
            result.append(post)
        else:
            result.append(_as_neighbours(post, previous, following))
    return result


def _is_shown(post: ArchivedPost) -> bool:
    """Whether the name of its picture reveals its time."""
    named = post.file is not None and (post.file.image_url or post.file.thumbnail_url) is not None
    return named or post.corrected_by_seconds != 0


def _as_neighbours(post: ArchivedPost, previous: ArchivedPost | None, following: ArchivedPost | None) -> ArchivedPost:
    neighbours = [neighbour.corrected_by_seconds for neighbour in (previous, following) if neighbour]
    if not neighbours:
        return post
    for seconds in dict.fromkeys((*neighbours, 0, *WRONG_BY_SECONDS)):
        corrected = replace(post, corrected_by_seconds=seconds)
        late_enough = previous is None or previous.posted_at <= corrected.posted_at
        early_enough = following is None or corrected.posted_at <= following.posted_at
        if late_enough and early_enough:
            return corrected
    return post
