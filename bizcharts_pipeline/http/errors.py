"""Errors of sources and HTTP requests; each message names the fault, its place, and what to do."""

from bizcharts_pipeline.core.errors import BizchartsError


class SourceError(BizchartsError):
    """A source did not return the requested data. ``evidence`` is the beginning of its response, if any."""

    evidence: bytes = b""


class SourceUnreachable(SourceError):
    """No response, or a server error, in all attempts; a later run may succeed."""


class SourceBlocked(SourceError):
    """The source refuses us, or demands a longer pause than a run may wait."""


class HostPaused(SourceBlocked):
    """The host demanded a pause longer than a run may wait; no request was sent."""


class SourceNotFound(SourceError):
    """The source answered that the resource does not exist (404 or 410)."""


class UnexpectedAnswer(SourceError):
    """A status, redirect or encoding that is not supported."""


class ResponseTooLarge(SourceError):
    """The body exceeds the size limit of this source."""


class ResponseTruncated(SourceError):
    """The body ended early or its compression is damaged, in all attempts."""


class CatalogFormatError(SourceError):
    """The response is not a valid catalogue."""


class RateLimitFolderUnsafe(SourceError):
    """The machine-wide folder of the rate limits belongs to another user or is not a folder."""


class CorruptPollError(SourceError):
    """A spool file cannot be read; it was moved to quarantine."""
