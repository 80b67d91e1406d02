"""Errors of the exports."""

from bizcharts_pipeline.core.errors import BizchartsError


class ExportError(BizchartsError):
    """The export was not written; says why."""
