"""Errors of the alerts."""

from bizcharts_pipeline.core.errors import BizchartsError


class AlertsError(BizchartsError):
    """Alerts cannot be found or sent. The message holds no address of a destination."""


class AlertLedgerError(AlertsError):
    """The ledger cannot be used, so nothing may be sent."""


class BadDestination(AlertsError):
    """A destination is refused; the message names its position in the variable, not its address."""
