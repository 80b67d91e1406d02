"""What can go wrong with the outside world; each message says what happened, where, and what to do."""

from bizcharts_pipeline.core.errors import BizchartsError


class SourceError(BizchartsError):
    """A source did not give what was asked of it. ``evidence`` is the beginning of what came instead, if anything."""

    evidence: bytes = b""


class SourceUnreachable(SourceError):
    """No answer, or a server error, through all attempts: it may work later without any change here."""


class SourceBlocked(SourceError):
    """The source refuses us, or asked us to stay away for longer than a run may wait."""


class HostPaused(SourceBlocked):
    """The host asked for a pause that lasts longer than a run may wait; it was not asked again."""


class SourceNotFound(SourceError):
    """The source says that there is no such thing (404 or 410)."""


class UnexpectedAnswer(SourceError):
    """A status, redirect or encoding that no rule here covers."""


class ResponseTooLarge(SourceError):
    """The body is larger than anything this source may sensibly send."""


class ResponseTruncated(SourceError):
    """The body ended early or its compression is damaged, through all attempts."""


class CatalogFormatError(SourceError):
    """A catalogue that can not be read as one."""


class RateLimitFolderUnsafe(SourceError):
    """The machine-wide folder of the rate limits belongs to somebody else or is no folder."""


class CorruptPollError(SourceError):
    """A spool file that can not be read; it has been moved aside."""
