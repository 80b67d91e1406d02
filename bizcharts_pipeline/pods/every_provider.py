"""Pods of this installation at every provider in the ledger, not only at the configured one.

So pods rented before a change of `BIZCHARTS_POD_PROVIDER` are still managed. If a provider cannot be queried, its rows
in the ledger are shown, with the reason.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bizcharts_pipeline.http.deadline import cut_off_after
from bizcharts_pipeline.pods import kept
from bizcharts_pipeline.pods.errors import AccessDenied, OutOfTime, PodError, PodLedgerError
from bizcharts_pipeline.pods.ledger import PodLedger
from bizcharts_pipeline.pods.protocol import Provider
from bizcharts_pipeline.pods.providers import open_provider
from bizcharts_pipeline.pods.reaper import Listed, ReapReport, is_held, listing, of_row, reap
from bizcharts_pipeline.settings import Settings

NOT_ASKED = "not asked"
_RECENT = timedelta(days=7)


@dataclass(frozen=True)
class Overview:
    """All known pods, and the reason for each provider that cannot be queried."""

    pods: tuple[Listed, ...]
    unreachable: tuple[str, ...]


def overview(settings: Settings, ledger: PodLedger, now: datetime, is_running: Callable[[str], bool]) -> Overview:
    """Return this installation's pods at every provider; for a provider that does not answer, those in the ledger.

    Raises:
        PodLedgerError: the ledger cannot be read.
    """
    pods: list[Listed] = []
    unreachable: list[str] = []
    lease = timedelta(minutes=settings.pods.lease_minutes)
    for name in _names(settings, ledger, now):
        try:
            try:
                provider: Provider = open_provider(settings, name)
            except AccessDenied:
                if ledger.names(name, datetime.min):
                    raise
                continue  # nothing was ever rented there, so a missing key does not matter
            pods += listing(provider, ledger, settings.pods, now, is_running)
        except PodLedgerError:
            raise
        except PodError as error:
            rows = ledger.live(name)
            if rows or name == settings.pod_provider:
                unreachable.append(_failure_text(name, len(rows), error))
            for row in rows:
                folder = ledger.folder(row.key)
                has_run = is_held(folder) or is_running(row.run_id)
                pods.append(of_row(row, NOT_ASKED, now, has_run, kept.until(folder, now, lease)))
    return Overview(tuple(pods), tuple(unreachable))


def reap_everywhere(
    settings: Settings,
    ledger: PodLedger,
    now: Callable[[], datetime],
    is_running: Callable[[str], bool],
    seconds: float | None = None,
) -> ReapReport | None:
    """Terminate every orphan at every provider; ``None`` if no provider can be queried and the ledger has no live pod.

    Args:
        seconds: time limit. No wait that would exceed it begins, no further job is started after it, and a
            request in flight is cut off then; ``None``: no limit.

    Raises:
        PodLedgerError: the ledger cannot be read.
    """
    if seconds is None:
        return _reap_each(settings, ledger, now, is_running, time.sleep)
    with cut_off_after(seconds):
        return _reap_each(settings, ledger, now, is_running, _sleep_until(time.monotonic() + seconds))


def _reap_each(
    settings: Settings,
    ledger: PodLedger,
    now: Callable[[], datetime],
    is_running: Callable[[str], bool],
    sleep: Callable[[float], None],
) -> ReapReport | None:
    report, asked = ReapReport((), (), ()), False
    for name in _names(settings, ledger, now()):
        try:
            provider: Provider = open_provider(settings, name, sleep)
        except AccessDenied as error:
            if rows := ledger.live(name):
                report += ReapReport((), (), (_failure_text(name, len(rows), error),))
                asked = True
            continue
        asked = True
        try:
            report += reap(provider, ledger, settings.pods, now, is_running, sleep)
        except PodLedgerError:
            raise
        except PodError as error:
            report += ReapReport((), (), (_failure_text(name, len(ledger.live(name)), error),))
    return report if asked else None


def _sleep_until(end: float) -> Callable[[float], None]:
    """Return a sleep that raises `OutOfTime` instead of sleeping beyond ``end``, on the monotonic clock."""

    def sleep(seconds: float) -> None:
        if time.monotonic() + seconds > end:
            raise OutOfTime("no time left in this run; the next one continues")
        time.sleep(seconds)

    return sleep


def _names(settings: Settings, ledger: PodLedger, now: datetime) -> list[str]:
    """Return the configured provider, and those at which this installation may still have pods."""
    others = ledger.providers(now - _RECENT) - {settings.pod_provider}
    return [settings.pod_provider, *sorted(others)]


def _failure_text(name: str, rows: int, error: PodError) -> str:
    known = f"; the ledger has {rows} unmanaged pod{'' if rows == 1 else 's'} there" if rows else ""
    return f"{name} cannot be queried{known}: {error}"
