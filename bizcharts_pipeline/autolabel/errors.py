"""Errors of labelling by models."""

from bizcharts_pipeline.autolabel.protocol import BatchState
from bizcharts_pipeline.core.errors import BizchartsError


class AutoLabelError(BizchartsError):
    """Labelling by models cannot continue; the message names the reason and what to do."""


class KeyMissing(AutoLabelError):
    """A remote service is configured without an API key."""


class SdkMissing(AutoLabelError):
    """The extra ``auto-labels`` is not installed."""


class BatchError(AutoLabelError):
    """A batch was refused or could not be looked up; ``state`` tells which."""

    def __init__(self, message: str, state: BatchState) -> None:
        super().__init__(message)
        self.state = state
