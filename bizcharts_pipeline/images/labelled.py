"""The threads of the label ledger, which is ahead of the database."""

from pathlib import Path

from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger


def ledger_threads(home: Path, *, skipped: bool) -> list[int]:
    """Return the threads that anybody has labelled, and if ``skipped`` those that he only skipped; in their order.

    Raises:
        LedgerError: the ledger cannot be read.
    """
    ledger = home / LEDGER
    if not ledger.exists():
        return []
    return sorted({label.thread_id for label in LabelLedger(ledger).newest() if skipped or not label.skipped})
