"""State transitions of a job's pods."""

from bizcharts_pipeline.pods.protocol import State

_S = State

TRANSITIONS: dict[State, frozenset[State]] = {
    # Nothing is rented yet; or a killed process left a pod of the same job.
    _S.PLANNED: frozenset({_S.PLANNED, _S.CREATING, _S.BOOTING, _S.RELEASING}),
    # One candidate after the other.
    _S.CREATING: frozenset({_S.CREATING, _S.BOOTING, _S.RELEASING}),
    # Until a command runs on it; a re-attached pod already runs the job.
    _S.BOOTING: frozenset({_S.PREFLIGHT, _S.RUNNING, _S.LOST, _S.RELEASING}),
    _S.PREFLIGHT: frozenset({_S.STAGING, _S.LOST, _S.RELEASING}),
    _S.STAGING: frozenset({_S.RUNNING, _S.LOST, _S.RELEASING}),
    _S.RUNNING: frozenset({_S.COLLECTING, _S.LOST, _S.RELEASING}),
    _S.COLLECTING: frozenset({_S.LOST, _S.RELEASING}),
    _S.LOST: frozenset({_S.RELEASING}),
    # Always entered; again after an interruption.
    _S.RELEASING: frozenset({_S.RELEASING, _S.RELEASED, _S.ORPHAN}),
    # Continues after a clean-up before the first pod, or after a failure that another pod may fix.
    _S.RELEASED: frozenset({_S.PLANNED, _S.CREATING, _S.RELEASING}),
    _S.ORPHAN: frozenset({_S.RELEASING}),
}

# A pod left in one of these states is worth re-attaching to.
ADOPTABLE = frozenset({_S.CREATING, _S.BOOTING, _S.PREFLIGHT, _S.STAGING, _S.RUNNING, _S.COLLECTING})
