"""Repeats an asset's attempt within its step, so that a user can stop the run at any moment."""

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import dagster as dg

Made = TypeVar("Made")


def with_retries(attempt: Callable[[], Made], pauses: Sequence[float], say: Callable[[str], object]) -> Made:
    """Return the result of ``attempt``, which is repeated after failures that a retry may fix.

    This replaces a ``RetryPolicy``: Dagster also applies that to an interrupted step, and ignores interrupts while it
    waits for the retry, so a run stopped by a user would go on a minute later.

    Args:
        pauses: seconds before each retry.
        say: function that logs the reason of each failed attempt that is repeated.

    Raises:
        Exception: that of the last attempt, or of a ``Failure`` that allows no retries.
    """
    for pause in pauses:
        try:
            return attempt()
        except Exception as error:
            if isinstance(error, dg.Failure) and not error.allow_retries:
                raise
            reason = (error.description if isinstance(error, dg.Failure) else None) or error
            say(f"this attempt failed; retrying in {pause:g} s: {reason}")
        time.sleep(pause)
    return attempt()
