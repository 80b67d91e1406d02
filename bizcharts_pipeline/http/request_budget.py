"""How often a source was asked, on disk: budgets that hold over restarts and over all processes of an installation.

A request is booked before it is sent, in one transaction with the check; so whatever the interleaving, no window of a
minute and no calendar month (UTC) ever holds more requests than its budget. What was booked and then not sent (a crash,
a pause that the host asked for) counts as sent.
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
from bizcharts_pipeline.core.sqlite import connect, transaction
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.http.session import PoliteSession, Response

MINUTE = timedelta(minutes=1)
KEPT = timedelta(days=62)  # more than any month
ROWS_KEPT = 100_000  # however old the clock says they are: it may have been set ahead; a year of passes, about
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
    """The ledger can not be used, so nothing may be asked."""


class BudgetExhausted(SourceError):
    """The source has been asked as often as it may be for now."""


class SourceResting(SourceError):
    """The source refused us lately and is left alone for a while."""


@dataclass(frozen=True)
class Allowance:
    """How many requests a source may get in any minute, and in a calendar month (UTC)."""

    per_minute: int
    per_month: int


@dataclass(frozen=True)
class RequestLedger:
    """The ledger in the file ``path`` (SQLite), made on first use. Times are naive UTC."""

    path: Path

    def book(self, source: str, allowance: Allowance, now: datetime) -> None:
        """Count one request to ``source``, which may then be sent.

        Raises:
            BudgetExhausted: it may not.
        """
        with self._transaction() as connection:
            # Who read the clock first may come here last: both sides of `now` count, so order does not matter.
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
        """Return how many requests of the month's budget are left."""
        with self._opened() as connection:
            return max(0, allowance.per_month - _count(connection, source, *_month(now)))

    def refused(self, source: str, reason: str, now: datetime) -> None:
        """Let ``source`` rest: a quarter of an hour, twice as long after each refusal that follows, a day at most."""
        with self._transaction() as connection:
            row = connection.execute("SELECT refusals FROM rests WHERE source = ?", (source,)).fetchone()
            refusals = row[0] + 1 if row else 1
            rest = min(FIRST_REST * 2 ** min(refusals - 1, 16), LONGEST_REST)
            connection.execute(
                "INSERT OR REPLACE INTO rests VALUES (?, ?, ?, ?)", (source, _text(now + rest), refusals, reason)
            )

    def answered(self, source: str) -> None:
        """Forget that ``source`` ever refused."""
        with self._transaction() as connection:
            connection.execute("DELETE FROM rests WHERE source = ?", (source,))

    def check_rest(self, source: str, now: datetime) -> None:
        """Return if ``source`` may be asked.

        Raises:
            SourceResting: it rests; says until when and why.
        """
        with self._opened() as connection:
            row = connection.execute("SELECT until, reason FROM rests WHERE source = ?", (source,)).fetchone()
        # A rest that ends later than any rest may was written under a clock that has been set since.
        if row and now < datetime.fromisoformat(row[0]) <= now + LONGEST_REST:
            raise SourceResting(f"left alone until {row[0][:16].replace('T', ' ')} UTC, as it refused us: {row[1]}")

    def claim(self, what: str, every: timedelta, now: datetime) -> bool:
        """Return whether ``what`` is due, which only one caller is told; then it is not for the time of ``every``."""
        with self._transaction() as connection:
            row = connection.execute("SELECT at FROM claims WHERE what = ?", (what,)).fetchone()
            if row and timedelta(0) <= now - datetime.fromisoformat(row[0]) < every:
                return False
            connection.execute("INSERT OR REPLACE INTO claims VALUES (?, ?)", (what, _text(now)))
            return True

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._opened() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _opened(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path)) as connection:
                connection.executescript(_SCHEMA)
                yield connection
        except sqlite3.Error as error:
            raise RequestLedgerError(f"{self.path}: the request ledger cannot be used: {error}") from error


@dataclass(frozen=True)
class BudgetedSession:
    """The one way to ask a source that has a budget. ``session`` must try once only: a retry is a request too.

    So is a redirect, which is not followed; a key never leaves for where it leads.
    """

    session: PoliteSession
    ledger: RequestLedger
    source: str
    allowance: Allowance
    clock: Callable[[], datetime] = utc_now

    def get(self, url: str, headers: Mapping[str, str] | None = None) -> Response:
        """Book a request, send it, and return the answer.

        Raises:
            BudgetExhausted: nothing was sent.
            SourceError: as :meth:`PoliteSession.get`.
        """
        self.ledger.book(self.source, self.allowance, self.clock())
        return self.session.get(url, headers=headers, max_bytes=MAX_BODY_BYTES, redirects=False)


def _count(
    connection: sqlite3.Connection, source: str, begin: datetime, end: datetime, *, inclusive: bool = True
) -> int:
    """Count the requests from ``begin`` to before ``end``; after ``begin`` unless ``inclusive``."""
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
