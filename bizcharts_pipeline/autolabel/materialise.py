"""Copies the ledger to the table ``auto_labels``. Only changed rows are written."""

from bizcharts_pipeline.autolabel.ledger import AutoLabelLedger, State
from bizcharts_pipeline.autolabel.results import Result, results
from bizcharts_pipeline.warehouse.auto_labels import AutoLabel, known_rows, merge_auto_labels, news_key
from bizcharts_pipeline.warehouse.database import Database

STATUS: dict[State, str] = {
    "done": "labelled",
    "refused": "refused",
    "malformed": "malformed",
    "bad_image": "failed",  # and the post has no text to label without it
    "failed": "failed",
    "pending": "pending",
    "reserved": "pending",
    "submitted": "pending",
    "retry_later": "pending",
}


def materialise(ledger: AutoLabelLedger, database: Database) -> int:
    """Update the table ``auto_labels`` from the ledger of model labels; return the number of new or changed rows.

    Raises:
        DatabaseError: the database cannot be used.
    """
    rows = [_row(result) for result in results(ledger)]
    with database.read() as connection:
        known = known_rows(connection)
    news = [row for row in rows if known.get((keyed := news_key(row))[0]) != keyed[1]]
    if news:
        with database.write() as connection:
            merge_auto_labels(connection, news)
    return len(news)


def _row(result: Result) -> AutoLabel:
    bearish, neutral, bullish = result.probabilities or (None, None, None)
    return AutoLabel(
        thread_id=result.thread_id,
        provider=result.provider,
        model=result.model,
        endpoint=result.endpoint,
        prompt_version=result.prompt_version,
        label=result.label,
        p_bearish=bearish,
        p_neutral=neutral,
        p_bullish=bullish,
        status=STATUS[result.state],
        usd=result.usd,
        labeled_at=result.at,
        request_key=result.request_key,
        model_returned=result.model_returned,
        confidence_source=result.confidence_source,
        image_used=result.image_used,
        error=result.error,
    )
