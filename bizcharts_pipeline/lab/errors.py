"""Errors of the lab, and the check for its packages."""

from importlib.util import find_spec

from bizcharts_pipeline.core.errors import BizchartsError

PACKAGES = ("arch", "statsmodels")


class LabMissing(BizchartsError):
    """The packages of the lab are not installed."""


class LabError(BizchartsError):
    """A report or the trial ledger cannot be used; the message names it."""


def require_packages() -> None:
    """Check that the packages of the extra ``lab`` are installed; nothing is imported.

    Raises:
        LabMissing: names the missing ones and the command that installs them.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise LabMissing(f"The backtest needs {' and '.join(missing)}: run `make install-lab`.")
