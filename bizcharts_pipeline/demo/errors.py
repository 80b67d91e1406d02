"""Errors of the demo."""

from bizcharts_pipeline.core.errors import BizchartsError


class DemoError(BizchartsError):
    """A step of the demo failed."""
