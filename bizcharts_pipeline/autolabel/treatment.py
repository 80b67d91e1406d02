"""Maps the outcome of a request to the state of its question: retry, postpone, or final."""

from collections import Counter
from dataclasses import dataclass

from bizcharts_pipeline.autolabel.ledger import State
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome

LONGEST_RETRY_AFTER = 120.0  # seconds; after a longer requested pause, the run sends no more requests
MAX_SUSPECTS = 3  # if more requests are refused as invalid, the cause is the settings, not the posts

# For each outcome, the maximum number of attempts and the state after the last one.
_ENDS: dict[Outcome, tuple[int, State]] = {
    Outcome.OK: (1, "done"),
    Outcome.REFUSED: (1, "refused"),
    Outcome.BAD_IMAGE: (1, "bad_image"),
    Outcome.MALFORMED: (2, "malformed"),
    Outcome.UNUSABLE: (1, "retry_later"),
    Outcome.RATE: (6, "retry_later"),
    Outcome.TRANSIENT: (5, "retry_later"),
    Outcome.TIMEOUT: (2, "retry_later"),
    Outcome.STOP: (1, "pending"),
    Outcome.BUG: (1, "pending"),
}


@dataclass(frozen=True)
class Treatment:
    """New state of a question; 'reserved': it is sent again at once."""

    state: State
    stops: bool  # no more requests are sent to the provider in this run


def treat(answer: Answer, met: Counter[Outcome]) -> Treatment:
    """Return the treatment of a labelling model's answer; ``met`` counts the question's outcomes in this run,
    including this one."""
    if answer.outcome is Outcome.RATE and (answer.retry_after or 0) > LONGEST_RETRY_AFTER:
        return Treatment("pending", True)
    most, state = _ENDS[answer.outcome]
    stops = answer.outcome in (Outcome.STOP, Outcome.BUG)
    return Treatment(state if met[answer.outcome] >= most else "reserved", stops)


def treat_in_batch(answer: Answer, times: int) -> State:
    """Return the state of a question that a labelling model answered in a batch; ``times`` counts this outcome of the
    question so far."""
    most, state = _ENDS[answer.outcome]
    return state if state != "retry_later" and times >= most else "pending"
