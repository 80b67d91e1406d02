"""Calls to a batch API: read calls are retried, submissions are sent only once."""

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import BatchState

SECONDS = 600.0  # for an upload or a download as a whole
PAUSES = (1.0, 4.0)  # seconds, before a read call is retried
MAX_BATCHES = 10_000  # searched for a run's batch

Result = TypeVar("Result")
Batch = TypeVar("Batch")


def called(send: Callable[[], Result], refusal: Callable[[Exception], BatchError], *, submitting: bool) -> Result:
    """Return the result of the call ``send`` to a labelling service's batch API; a failed read call is retried, a
    submission is not.

    Raises:
        BatchError: the SDK's last exception, converted by ``refusal``; or raised by ``send`` itself.
    """
    for pause in (*PAUSES, None):
        try:
            return send()
        except BatchError:
            raise
        except Exception as error:
            refused = refusal(error)
        if submitting or pause is None:
            break
        time.sleep(pause)
    raise refused  # outside the handler: the SDK's exception holds the request with its key


def first_that(batches: Iterable[Batch], carries: Callable[[Batch], bool], service: str) -> Batch | None:
    """Return the first of the labelling service's batches for which ``carries`` is true.

    Raises:
        BatchError: there are too many batches to search.
    """
    seen = 0
    for batch in islice(batches, MAX_BATCHES):
        seen += 1
        if carries(batch):
            return batch
    if seen == MAX_BATCHES:
        raise unknown(
            f"{service} lists over {MAX_BATCHES:,} batches; it cannot be determined whether this run's batch exists."
        )
    return None


def unknown(message: str) -> BatchError:
    """Return the error for a batch of labels that may or may not exist."""
    return BatchError(message, BatchState.RUNNING)
