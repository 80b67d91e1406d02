"""How a service is asked about batches, whichever it is: patiently, and never to order the same twice."""

import time
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from bizcharts_pipeline.autolabel.errors import BatchError
from bizcharts_pipeline.autolabel.protocol import BatchState

SECONDS = 600.0  # for an upload or a download as a whole
PAUSES = (1.0, 4.0)  # seconds, before a question to the service is put again
MAX_BATCHES = 10_000  # that are looked through for one

Result = TypeVar("Result")
Batch = TypeVar("Batch")


def called(send: Callable[[], Result], refusal: Callable[[Exception], BatchError], *, submitting: bool) -> Result:
    """Return what ``send`` returns; a question that failed is put again, an order is not.

    Raises:
        BatchError: what ``refusal`` makes of the SDK's last exception; or as ``send`` raises it.
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
    """Return the first of the service's batches that ``carries`` holds for.

    Raises:
        BatchError: there are too many to tell.
    """
    seen = 0
    for batch in islice(batches, MAX_BATCHES):
        seen += 1
        if carries(batch):
            return batch
    if seen == MAX_BATCHES:
        raise unknown(f"{service} lists over {MAX_BATCHES:,} batches; cannot tell whether ours is there.")
    return None


def unknown(message: str) -> BatchError:
    """Return the error of a batch that may be there or not."""
    return BatchError(message, BatchState.RUNNING)
