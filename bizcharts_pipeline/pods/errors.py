"""What can become of a pod. ``retry`` says whether the same order may do better later."""

from bizcharts_pipeline.core.errors import BizchartsError


class PodError(BizchartsError):
    """Something about a pod went wrong."""

    retry = False


# What a control plane says.


class NoCapacity(PodError):
    """It said in so many words that nothing is free: nothing was created."""

    retry = True


class AccessDenied(PodError):
    """It does not accept the key, or there is none."""


class OutOfFunds(PodError):
    """The account has no balance."""


class OrderRefused(PodError):
    """It will never take this order: an unknown GPU, a bad field."""


class NotOffered(OrderRefused):
    """It does not know this type of GPU; others it may."""


class Uncertain(PodError):
    """Nobody knows what became of a request: a time-out, a 5xx, a malformed answer. A pod may exist."""

    retry = True


class OutOfTime(Uncertain):
    """Whoever asks has no time to wait for the answer."""


class ApiGone(Uncertain):
    """The whole API was switched off, not one pod."""


# What a link to a pod says.


class LinkError(PodError):
    """A command did not get through, or its answer did not come back."""

    retry = True


class LinkLost(LinkError):
    """Nobody answers, or the connection broke."""


class LoginRefused(LinkError):
    """The host answers and does not let us in: normal while it boots."""


class HostChanged(LinkError):
    """Another host key than the first time: the container was reset, and what was on it is gone."""


class TransferError(LinkError):
    """Files did not arrive as they were sent."""


class LocalDiskError(PodError):
    """This machine cannot store what the pod sends: a full, broken or forbidden disk, too many open files."""


# What this machine's own books say.


class PodLedgerError(PodError):
    """The ledger cannot be used, so nothing may be rented."""


class LedgerNotWritable(PodLedgerError):
    """The disk of the ledger is full or read-only."""


# How a job ends that brings no result.


class OverBudget(PodError):
    """Its longest run would cost more than the budget leaves."""


class DearerThanListed(OverBudget):
    """A pod that was created is charged more than was listed, and more than the budget leaves; another may not be."""

    retry = True


class BadHost(PodError):
    """The machine cannot do the job: no GPU, an old driver, a full disk."""

    retry = True


class WrongSetting(PodError):
    """A setting that every pod would refuse in the same way, so that another pod costs the same for nothing."""


class PodLost(PodError):
    """The pod is gone, was reset, or cannot be reached for longer than its lease."""

    retry = True


class JobFailed(PodError):
    """The training itself ended without a result.

    Attributes:
        reason: 'failed', 'out of memory', 'disk full', 'diverged', 'max_runtime', 'hung', 'killed' or 'no result'.
        log_tail: the last of what it printed, at most 4,000 characters.
    """

    def __init__(self, message: str, reason: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.log_tail = log_tail
        self.retry = reason == "killed"


class Cancelled(PodError):
    """Somebody stopped the run."""
