"""Which threads are labelled: everything of theirs outlives its period."""

from collections.abc import Collection

from bizcharts_pipeline.warehouse.values import table


def labelled_threads(ledger: Collection[int] = ()) -> str:
    """Return the SQL that selects the ``thread_id`` of every thread that a person or a model has labelled or skipped.

    ``ledger`` are the threads of the label ledger, which is ahead of the database.
    """
    return (
        "SELECT thread_id FROM training_labels UNION SELECT thread_id FROM auto_labels "
        f"UNION SELECT thread_id FROM {as_table(ledger)}"
    )


def as_table(threads: Collection[int]) -> str:
    """Return ``threads`` as a SQL sub-query with the column ``thread_id``."""
    return table([{"thread_id": thread_id} for thread_id in threads], {"thread_id": "BIGINT"})
