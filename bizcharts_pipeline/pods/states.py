"""The life of a pod as a table: from which state to which."""

from bizcharts_pipeline.pods.protocol import State

_S = State

TRANSITIONS: dict[State, frozenset[State]] = {
    # Nothing is rented yet; or a pod of the same job is there, left by a process that was killed.
    _S.PLANNED: frozenset({_S.PLANNED, _S.CREATING, _S.BOOTING, _S.RELEASING}),
    # One candidate after the other.
    _S.CREATING: frozenset({_S.CREATING, _S.BOOTING, _S.RELEASING}),
    # Until a command runs on it; one that was taken over is at work already.
    _S.BOOTING: frozenset({_S.PREFLIGHT, _S.RUNNING, _S.LOST, _S.RELEASING}),
    _S.PREFLIGHT: frozenset({_S.STAGING, _S.LOST, _S.RELEASING}),
    _S.STAGING: frozenset({_S.RUNNING, _S.LOST, _S.RELEASING}),
    _S.RUNNING: frozenset({_S.COLLECTING, _S.LOST, _S.RELEASING}),
    _S.COLLECTING: frozenset({_S.LOST, _S.RELEASING}),
    _S.LOST: frozenset({_S.RELEASING}),
    # Always, whatever happened; again where it was interrupted.
    _S.RELEASING: frozenset({_S.RELEASING, _S.RELEASED, _S.ORPHAN}),
    # What a clean-up before the first pod, or a failure that another pod may mend, goes on with.
    _S.RELEASED: frozenset({_S.PLANNED, _S.CREATING, _S.RELEASING}),
    _S.ORPHAN: frozenset({_S.RELEASING}),
}

# A pod that was left in one of these is worth taking over.
ADOPTABLE = frozenset({_S.CREATING, _S.BOOTING, _S.PREFLIGHT, _S.STAGING, _S.RUNNING, _S.COLLECTING})
