"""What ends a run of labelling, by name."""

from bizcharts_pipeline.autolabel.protocol import BatchState
from bizcharts_pipeline.core.errors import BizchartsError


class AutoLabelError(BizchartsError):
    """Labelling by models cannot go on; says why and what to do."""


class KeyMissing(AutoLabelError):
    """A service that is not on this machine, and no key for it."""


class SdkMissing(AutoLabelError):
    """The extra ``auto-labels`` is not installed."""


class BatchError(AutoLabelError):
    """A batch was refused; ``state`` says whether smaller ones may pass."""

    def __init__(self, message: str, state: BatchState) -> None:
        super().__init__(message)
        self.state = state
