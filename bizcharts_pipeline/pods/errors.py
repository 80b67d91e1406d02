"""Errors of pods. ``retry`` is whether the same order may succeed later."""

from bizcharts_pipeline.core.errors import BizchartsError


class PodError(BizchartsError):
    """Base class of errors about pods."""

    retry = False


# From the control plane.


class NoCapacity(PodError):
    """The control plane explicitly reported no free capacity: nothing was created."""

    retry = True


class AccessDenied(PodError):
    """The key is missing or not accepted."""


class OutOfFunds(PodError):
    """The account has no balance."""


class OrderRefused(PodError):
    """The control plane will never accept this order: an unknown GPU, an invalid field."""


class NotOffered(OrderRefused):
    """This GPU type is unknown to the control plane; others may be available."""


class Uncertain(PodError):
    """The outcome of a request is unknown: a time-out, a 5xx, a malformed answer. A pod may exist."""

    retry = True


class Unsent(Uncertain):
    """No connection was established, so nothing was sent."""


class OutOfTime(Uncertain):
    """The caller's deadline was reached before the answer."""


class ApiGone(Uncertain):
    """The whole API was switched off."""


# From the connection to a pod.


class LinkError(PodError):
    """A command did not reach the pod, or its answer was lost."""

    retry = True


class LinkLost(LinkError):
    """The host does not answer, or the connection broke."""


class LoginRefused(LinkError):
    """The host answers but refuses the login: normal while it boots."""


class HostChanged(LinkError):
    """The host key differs from the first one: the container was reset and its data is lost."""


class TransferError(LinkError):
    """Files did not arrive unchanged."""


class LocalDiskError(PodError):
    """This machine cannot store data from the pod: a full, broken or read-only disk, too many open files."""


# From this machine's ledger.


class PodLedgerError(PodError):
    """The ledger cannot be used, so nothing may be rented."""


class LedgerNotWritable(PodLedgerError):
    """The disk of the ledger is full or read-only."""


# Jobs that end without a result.


class OverBudget(PodError):
    """The job's maximum cost exceeds the remaining budget."""


class DearerThanListed(OverBudget):
    """A created pod's actual price is above the listed one and exceeds the remaining budget; another pod may not."""

    retry = True


class BadHost(PodError):
    """The machine cannot run the job: no GPU, an old driver, a full disk."""

    retry = True


class WrongSetting(PodError):
    """A setting with which every pod would fail, so that another pod would only cost money."""


class PodLost(PodError):
    """The pod disappeared, was reset, or cannot be reached for longer than its lease."""

    retry = True


class JobFailed(PodError):
    """The training itself ended without a result.

    Attributes:
        reason: 'failed', 'out of memory', 'disk full', 'diverged', 'max_runtime', 'hung', 'killed' or 'no result'.
        log_tail: the end of its output, at most 4,000 characters.
    """

    def __init__(self, message: str, reason: str, log_tail: str = "") -> None:
        super().__init__(message)
        self.reason = reason
        self.log_tail = log_tail
        self.retry = reason == "killed"


class Cancelled(PodError):
    """The run was cancelled."""
