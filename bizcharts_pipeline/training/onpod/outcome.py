"""Exit statuses of a training: one per kind of failure, so that the caller can react."""

import errno
import math
from collections.abc import Iterator

FAILED, OUT_OF_MEMORY, DIVERGED, DISK_FULL, BAD_INPUT = 1, 3, 4, 5, 6

_FULL = {errno.ENOSPC, errno.EDQUOT}
# Messages of native libraries that do not raise OSError (safetensors, PyTorch's writer, CUDA's).
_FULL_WORDS = ("No space left on device", "os error 28", "PytorchStreamWriter failed", "fail at inline_container")
_MEMORY_WORDS = ("out of memory", "CUBLAS_STATUS_ALLOC_FAILED", "can't allocate memory", "cudaErrorMemoryAllocation")


class BadInput(Exception):
    """The specification or the data cannot be used for training; the message names the part and the reason."""


class Diverged(Exception):
    """The loss became NaN or infinite."""


def require_finite(step: int, **values: float | None) -> None:
    """Raise :class:`Diverged` if one of ``values`` of a training step is NaN or infinite."""
    for name, value in values.items():
        if value is not None and not math.isfinite(value):
            raise Diverged(f"{name} is {value} at step {step}; lower the learning rate or check the rows of that step")


def exit_status(error: BaseException) -> int:
    """Return the exit status of the training's process after ``error``."""
    for cause in _causes(error):
        if isinstance(cause, BadInput):
            return BAD_INPUT
        if isinstance(cause, Diverged):
            return DIVERGED
        if isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError":
            return OUT_OF_MEMORY
        text = str(cause)
        if (isinstance(cause, OSError) and cause.errno in _FULL) or any(words in text for words in _FULL_WORDS):
            return DISK_FULL
        if isinstance(cause, RuntimeError) and any(words in text for words in _MEMORY_WORDS):
            return OUT_OF_MEMORY
    return FAILED


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
