"""Request ledger: request budgets that hold across restarts and all processes and machines of an installation.

A request is booked before it is sent, in one transaction with the check; so no minute and no calendar month (UTC) ever
holds more requests than its budget. A request that was booked but not sent (a crash, a pause that the host demanded)
counts as sent.
"""

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.ledgers import Connection, connect, of_newer_version, place, transaction, upgrade
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.session import PoliteSession, Response

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=62)  # more than any month
ROWS_KEPT = 100_000  # regardless of age, as the clock may have been set ahead; about one year of requests
FIRST_REST = timedelta(minutes=15)  # doubled by each further refusal
LONGEST_REST = timedelta(days=1)
MAX_BODY_BYTES = 8 * 1024 * 1024

_SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (source TEXT NOT NULL, at TEXT NOT NULL);  -- UTC, ISO 8601 with microseconds
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (source, at);
CREATE TABLE IF NOT EXISTS rests (
    source    TEXT    PRIMARY KEY,
    until     TEXT    NOT NULL,
    refusals  INTEGER NOT NULL,  -- one after the other
    reason    TEXT    NOT NULL
);
CREATE TABLE IF NOT EXISTS claims (what TEXT PRIMARY KEY, at TEXT NOT NULL);
"""


class RequestLedgerError(BizchartsError):
    """The request ledger cannot be used, so no request may be sent."""


class BudgetExhausted(SourceError):
    """The request budget of the source is used up for now."""


class SourceResting(SourceError):
    """The source refused us recently and gets no requests for a while."""


@dataclass(frozen=True)
class Allowance:
    """How many requests a source may get in any minute, and in a calendar month (UTC)."""

    per_minute: int
    per_month: int


@dataclass(frozen=True)
class RequestLedger:
    """The ledger ``path``, created on first use. Times are naive UTC."""

    path: Path

    def book(self, source: str, allowance: Allowance, now: datetime) -> None:
        """Book one HTTP request to ``source``, which may then be sent.

        Raises:
            BudgetExhausted: the budget of the minute or month is used up.
        """
        with self._transaction() as connection:
            # Processes may arrive here out of clock order: both sides of `now` count, so order does not matter.
            in_minute = _count(connection, source, now - MINUTE, now + MINUTE, inclusive=False)
            if in_minute >= allowance.per_minute:
                raise BudgetExhausted(
                    f"{counted(in_minute, 'request')} in this minute, its budget is {allowance.per_minute}"
                )
            in_month = _count(connection, source, *_month(now))
            if in_month >= allowance.per_month:
                raise BudgetExhausted(
                    f"{counted(in_month, 'request')} in this month, its budget is {allowance.per_month:,}"
                )
            connection.execute("INSERT INTO requests VALUES (?, ?)", (source, _text(now)))
            connection.execute(
                "DELETE FROM requests WHERE source = ? AND at < ? AND rowid <= (SELECT max(rowid) FROM requests) - ?",
                (source, _text(now - KEPT), ROWS_KEPT),
            )

    def left_this_month(self, source: str, allowance: Allowance, now: datetime) -> int:
        """Return the remaining requests of a source's budget of the month."""
        with self._opened() as connection:
            return max(0, allowance.per_month - _count(connection, source, *_month(now)))

    def refused(self, source: str, reason: str, now: datetime) -> None:
        """Back off from ``source`` after it refused a request: 15 minutes, doubled by each consecutive refusal, at most
        a day.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT refusals FROM rests WHERE source = ?", (source,)).fetchone()
            refusals = row[0] + 1 if row else 1
            rest = min(FIRST_REST * 2 ** min(refusals - 1, 16), LONGEST_REST)
            connection.execute(
                "INSERT INTO rests VALUES (?, ?, ?, ?) ON CONFLICT (source) DO UPDATE "
                "SET until = excluded.until, refusals = excluded.refusals, reason = excluded.reason",
                (source, _text(now + rest), refusals, reason),
            )

    def answered(self, source: str) -> None:
        """Reset the back-off from requests to ``source``."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM rests WHERE source = ?", (source,))

    def check_rest(self, source: str, now: datetime) -> None:
        """Check that no back-off forbids requests to ``source``.

        Raises:
            SourceResting: it is; names the end and the reason.
        """
        with self._opened() as connection:
            row = connection.execute("SELECT until, reason FROM rests WHERE source = ?", (source,)).fetchone()
        # A rest beyond the maximum was written before the clock was set back.
        if row and now < datetime.fromisoformat(row[0]) <= now + LONGEST_REST:
            raise SourceResting(
                f"no requests until {row[0][:16].replace('T', ' ')} UTC, because it refused one: {row[1]}"
            )

    def claim(self, what: str, every: timedelta, now: datetime) -> bool:
        """Return whether the task ``what``, which sends requests, is due, to one caller only; it is due again after
        ``every``.
        """
        with self._transaction() as connection:
            row = connection.execute("SELECT at FROM claims WHERE what = ?", (what,)).fetchone()
            if row and timedelta(0) <= now - datetime.fromisoformat(row[0]) < every:
                return False
            connection.execute(
                "INSERT INTO claims VALUES (?, ?) ON CONFLICT (what) DO UPDATE SET at = excluded.at", (what, _text(now))
            )
            return True

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._opened() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _opened(self) -> Iterator[Connection]:
        try:
            with closing(connect(self.path)) as connection:
                if not bring_up_to_date(connection):
                    raise RequestLedgerError(of_newer_version(self.path))
                yield connection
        except sqlite3.Error as error:
            raise RequestLedgerError(f"{place(self.path)}: the request ledger cannot be used: {error}") from error


@dataclass(frozen=True)
class BudgetedSession:
    """Session for a source with a request budget. ``session`` must not retry: a retry is a request too.

    Redirects, which would be requests too, are not followed, so a key is never sent to their target.
    """

    session: PoliteSession
    ledger: RequestLedger
    source: str
    allowance: Allowance
    clock: Callable[[], datetime] = utc_now

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """Book a request of the source's budget, send it, and return the response.

        Raises:
            BudgetExhausted: nothing was sent.
            SourceError: as :meth:`PoliteSession.get`.
        """
        self.ledger.book(self.source, self.allowance, self.clock())
        return self.session.get(url, headers=headers, max_bytes=MAX_BODY_BYTES, redirects=False)


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables; return whether this program may use the ledger."""
    return upgrade(connection, [_SCHEMA])


def _count(connection: Connection, source: str, begin: datetime, end: datetime, *, inclusive: bool = True) -> int:
    """Count the requests at or after ``begin`` (only after it unless ``inclusive``) and before ``end``."""
    first = ">=" if inclusive else ">"
    row = connection.execute(
        f"SELECT count(*) FROM requests WHERE source = ? AND at {first} ? AND at < ?",
        (source, _text(begin), _text(end)),
    ).fetchone()
    return int(row[0])


def _month(now: datetime) -> tuple[datetime, datetime]:
    first = now.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return first, (first + timedelta(days=32)).replace(day=1)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
