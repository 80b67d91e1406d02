"""What each outcome of a request means for its question: asked again, put off, or an end."""

from collections import Counter
from dataclasses import dataclass

from bizcharts_pipeline.autolabel.ledger import State
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome

LONGEST_RETRY_AFTER = 120.0  # seconds; who wants a longer pause is asked nothing more in this run
MAX_SUSPECTS = 3  # more requests that are refused as wrong at once point to the settings, not to the posts

# How often a question may meet with an outcome, and its state when it has.
_ENDS: dict[Outcome, tuple[int, State]] = {
    Outcome.OK: (1, "done"),
    Outcome.REFUSED: (1, "refused"),
    Outcome.BAD_IMAGE: (1, "bad_image"),
    Outcome.MALFORMED: (2, "malformed"),
    Outcome.RATE: (6, "retry_later"),
    Outcome.TRANSIENT: (5, "retry_later"),
    Outcome.TIMEOUT: (2, "retry_later"),
    Outcome.STOP: (1, "pending"),
    Outcome.BUG: (1, "pending"),
}


@dataclass(frozen=True)
class Treatment:
    """The state of a question from now on; 'reserved': it is asked again at once."""

    state: State
    stops: bool  # the provider is asked nothing more in this run


def treat(answer: Answer, met: Counter[Outcome]) -> Treatment:
    """Return what is to be done; ``met`` counts the outcomes of the question in this run, this one included."""
    if answer.outcome is Outcome.RATE and (answer.retry_after or 0) > LONGEST_RETRY_AFTER:
        return Treatment("pending", True)
    most, state = _ENDS[answer.outcome]
    stops = answer.outcome in (Outcome.STOP, Outcome.BUG)
    return Treatment(state if met[answer.outcome] >= most else "reserved", stops)


def treat_in_batch(answer: Answer, times: int) -> State:
    """Return the state of a question that a batch has answered, and that had this outcome so many ``times`` by now."""
    most, state = _ENDS[answer.outcome]
    return state if state != "retry_later" and times >= most else "pending"
