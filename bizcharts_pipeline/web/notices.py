"""What the page says when it has no post to show."""

from bizcharts_pipeline.labels.offers import Candidates, OfferFilters

BUSY = "The database is busy."

Notice = tuple[str, str]  # heading and text


def waiting(problem: str | None) -> Notice:
    """Return what there is to say while posts are being read; ``problem`` is why they can not be."""
    if problem in (None, BUSY):
        return "One moment.", problem or "The next posts are being read."
    return "The database cannot be read.", str(problem)


def finished(filters: OfferFilters, candidates: Candidates) -> Notice:
    """Return why there is nothing to label."""
    if not len(candidates.threads):
        if filters.source or filters.first or filters.last:
            return "No posts.", "None in the database passes the filters --source, --from and --to."
        return "No posts yet.", "The database is empty. What is read into it shows here by itself."
    if filters.queue and not candidates.queue:
        return "The queue is empty.", "The job `labelling` fills it. Without --queue there are posts to label."
    which = "of the queue" if filters.queue else "that passes the filters"
    return "Nothing left.", f"Every post {which} is labelled. New ones show here by themselves."
