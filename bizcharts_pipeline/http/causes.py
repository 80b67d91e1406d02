"""The wording of failed connections, without the names of the libraries' classes."""

from collections.abc import Iterator
from http.client import BadStatusLine, HTTPException, IncompleteRead, LineTooLong, RemoteDisconnected

from urllib3.exceptions import InvalidChunkLength, NameResolutionError

# The first that is found, from the most to the least exact.
_BROKEN = (
    (NameResolutionError, "the host's name cannot be resolved"),
    (RemoteDisconnected, "the host closed it without an answer"),
    (LineTooLong, "a line of the answer's head is too long"),
    (BadStatusLine, "the answer is not HTTP"),
    (InvalidChunkLength, "the chunked encoding is damaged"),
    (IncompleteRead, "it ended early"),
    (HTTPException, "the answer's head is damaged"),
)


def cause_of(error: BaseException) -> str:
    """Return in words why an HTTP connection failed or broke: the system's reason, or what is wrong with the answer."""
    chain = list(_chain(error))
    for kind, words in _BROKEN:
        if any(isinstance(each, kind) for each in chain):
            return words
    reasons = (each.strerror for each in chain if isinstance(each, OSError) and each.strerror)
    return next(reasons, "it broke" if len(chain) > 1 else str(error) or "it broke")


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield ``error`` and the exceptions that it wraps or was caused by, each once."""
    pending = [error]
    for each in pending:
        yield each
        below = (*each.args, getattr(each, "reason", None), each.__cause__, each.__context__)
        pending += [one for one in below if isinstance(one, BaseException) and one not in pending]
