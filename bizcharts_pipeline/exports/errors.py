"""Errors of the exports."""

from bizcharts_pipeline.core.errors import BizchartsError


class ExportError(BizchartsError):
    """The export was not written; the message has the reason."""
