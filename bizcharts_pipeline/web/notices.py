"""Notices that the page shows in place of a post."""

from bizcharts_pipeline.labels.offers import Candidates, OfferFilters

BUSY = "The database is busy."

Notice = tuple[str, str]  # heading and text


def waiting(problem: str | None) -> Notice:
    """Return the labelling page's notice while posts are being loaded; ``problem`` is why they cannot be."""
    if problem in (None, BUSY):
        return "One moment.", problem or "The next posts are being loaded."
    return "The database cannot be read.", str(problem)


def finished(filters: OfferFilters, candidates: Candidates) -> Notice:
    """Return the labelling page's notice if there is nothing to label."""
    if not len(candidates.threads):
        if filters.source or filters.first or filters.last:
            return "No posts.", "None in the database passes the filters --source, --from and --to."
        return "No posts yet.", "The database is empty. New posts appear here by themselves."
    if filters.queue and not candidates.queue:
        return "The queue is empty.", "The job `labelling` fills it. Without --queue there are posts to label."
    which = "of the queue" if filters.queue else "that passes the filters"
    return "Nothing left.", f"Every post {which} is labelled. New ones appear here by themselves."
