"""Labelled posts without a stored picture, which the vision data set leaves out."""

from collections.abc import Mapping

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.labels.corpus import load_posts
from bizcharts_pipeline.labels.ledger import LabelLedger
from bizcharts_pipeline.warehouse.database import Database

REMEDIES = (
    "`images.archive = true` in settings.toml fetches what the archive has",
    "`labelling.text_only = true` takes posts without a picture",
)


def posts_without_picture(database: Database | None, ledger: LabelLedger) -> int:
    """Return the number of posts rated by people of which no picture is stored; all of them if ``database`` is ``None``
    (not created yet).

    Raises:
        DatabaseError: the warehouse cannot be read.
        LedgerError: the ledger cannot be read.
    """
    rated = {label.thread_id for label in ledger.newest() if not label.skipped}
    if not rated or database is None:
        return len(rated)
    with database.read() as connection:
        posts = load_posts(connection, rated)
    return len(rated) - sum(post.picture is not None and post.picture.status == "stored" for post in posts)


def left_out_for_pictures(left_out: Mapping[str, int], rows: int) -> str | None:
    """Return a hint about labelled posts that a data set of ``rows`` rows left out because of their picture.

    ``left_out`` counts posts by reason. ``None`` if there are no such posts.
    """
    reasons = {reason: count for reason, count in left_out.items() if _is_about_pictures(reason)}
    if not reasons:
        return None
    made = f"The data set has {counted(rows, 'row')}" if rows else "There is no data set"
    counts = ", ".join(f"{reason}: {count:,}" for reason, count in sorted(reasons.items()))
    return (
        f"{made}: {counted(sum(reasons.values()), 'labelled post has', 'labelled posts have')} no usable picture "
        f"({counts}). {', '.join(REMEDIES)}."
    )


def _is_about_pictures(reason: str) -> bool:
    return reason == "without picture" or reason.startswith(("picture ", "image "))
