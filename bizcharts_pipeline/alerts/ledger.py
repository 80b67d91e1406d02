"""The ledger of alerts: which events were found, and what became of each delivery.

No service takes an idempotency key, so a process that is killed during a request cannot know whether the message
arrived. Such a delivery becomes ``unknown`` and is not repeated. A kill at any other moment neither loses nor doubles
an event. No address of a destination is ever written here.
"""

import secrets
import sqlite3
from collections.abc import Collection, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

from bizcharts_pipeline.alerts.errors import AlertLedgerError
from bizcharts_pipeline.alerts.events import Event
from bizcharts_pipeline.core.ledgers import (
    ALL,
    Connection,
    connect,
    exclusive,
    marks,
    of_newer_version,
    place,
    transaction,
    upgrade,
)

LEDGER = Path("ledgers") / "alerts.sqlite"  # below the home
State = Literal["pending", "sending", "sent", "failed", "unknown"]
KILLED = "the sender was killed while sending: it may have arrived, and is not sent again"
NO_LONGER_SET = "its destination is no longer set"
_WATCHED, _HASH_KEY = "watched", "hash key"
_DELIVERY = """
SELECT d.id, e.key, e.kind, e.title, e.message, e.happened_at, d.destination, d.state, d.attempts, d.due_at,
       d.changed_at, d.error
FROM deliveries AS d JOIN events AS e ON e.key = d.event
"""


@dataclass(frozen=True)
class Delivery:
    """One event on its way to one destination. Times are naive UTC."""

    id: int
    key: str
    kind: str
    title: str
    message: str
    happened_at: datetime
    destination: str
    state: State
    attempts: int
    due_at: datetime
    changed_at: datetime
    error: str


@dataclass(frozen=True)
class Past:
    """What earlier searches for events left: their note, empty before the first, and when the last event of each kind
    happened, by subject. Times are naive UTC."""

    note: str
    last: dict[str, dict[str, datetime]]


class AlertLedger:
    """The ledger ``path``, created on first use; many processes and threads may use it at once.

    One sender works at a time: it holds a lock from :meth:`recover` until the last :meth:`finish`.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def hash_key(self) -> bytes:
        """Return the random key of this installation by which addresses of destinations are hashed."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO NOTHING", (_HASH_KEY, secrets.token_hex(32))
            )
            return bytes.fromhex(_note(connection, _HASH_KEY))

    def past(self) -> Past:
        """Return what earlier searches for events left."""
        with self._reading() as connection:
            rows = connection.execute("SELECT kind, subject, max(happened_at) FROM events GROUP BY 1, 2")
            last: dict[str, dict[str, datetime]] = {}
            for kind, subject, at in rows:
                last.setdefault(kind, {})[subject] = datetime.fromisoformat(at)
            return Past(_note(connection, _WATCHED), last)

    def record(
        self, events: Sequence[Event], destinations: Collection[str], before: str, after: str, now: datetime
    ) -> list[Event]:
        """Record the events that are not known yet, each with a delivery to each destination; return those.

        ``before`` is the note that :meth:`past` had when the search for events began, ``after`` the one from now on.
        If another process has recorded events in between, nothing is recorded: it has found the same.
        """
        with self._transaction() as connection:
            if _note(connection, _WATCHED) != before:
                return []
            new = [event for event in events if _insert(connection, event, now)]
            connection.execute_for_each(
                "INSERT INTO deliveries (event, destination, state, due_at, changed_at) VALUES (?, ?, 'pending', ?, ?)",
                [(event.key, name, _text(now), _text(now)) for event in new for name in sorted(destinations)],
            )
            connection.execute(
                "INSERT INTO notes VALUES (?, ?) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
                (_WATCHED, after),
            )
            return new

    def is_due(self, now: datetime) -> bool:
        """Whether a delivery is due, or was left in a request by a killed sender."""
        with self._reading() as connection:
            row = connection.execute(
                "SELECT 1 FROM deliveries WHERE (state = 'pending' AND due_at <= ?) OR state = 'sending' LIMIT 1",
                (_text(now),),
            ).fetchone()
            return row is not None

    def recover(self, destinations: Collection[str], now: datetime) -> int:
        """Mark as ``unknown`` what a killed sender left in a request, and as ``failed`` what was for a destination that
        is no longer set; return the number of deliveries.
        """
        still_set = [*destinations, ""]  # no destination has an empty name, and PostgreSQL no empty list
        with self._transaction() as connection:
            killed = connection.execute(
                "UPDATE deliveries SET state = 'unknown', error = ?, changed_at = ?, attempts = attempts + 1 "
                "WHERE state = 'sending'",
                (KILLED, _text(now)),
            ).rowcount
            gone = connection.execute(
                "UPDATE deliveries SET state = 'failed', error = ?, changed_at = ? "
                f"WHERE state = 'pending' AND destination NOT IN ({marks(still_set)})",
                (NO_LONGER_SET, _text(now), *still_set),
            ).rowcount
            return killed + gone

    def due(self, destination: str, now: datetime) -> list[Delivery]:
        """Return the deliveries to a destination that are due, the oldest event first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{_DELIVERY} WHERE d.destination = ? AND d.state = 'pending' AND d.due_at <= ? "
                "ORDER BY e.happened_at, d.id",
                (destination, _text(now)),
            )
            return [_delivery(row) for row in rows]

    def reserve(self, delivery: int, now: datetime) -> None:
        """Note that the request of a pending delivery is about to be sent; a kill from now on leaves it unknown."""
        with self._transaction() as connection:
            changed = connection.execute(
                "UPDATE deliveries SET state = 'sending', changed_at = ? WHERE id = ? AND state = 'pending'",
                (_text(now), delivery),
            ).rowcount
            if not changed:
                raise AlertLedgerError(
                    f"{place(self.path)}: delivery {delivery} is not pending; another sender is at work"
                )

    def finish(self, delivery: int, state: State, error: str, due_at: datetime, now: datetime) -> None:
        """Note the outcome of an attempt; ``due_at`` is when a ``pending`` delivery is attempted again."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE deliveries SET state = ?, error = ?, due_at = ?, changed_at = ?, attempts = attempts + 1 "
                "WHERE id = ? AND state IN ('pending', 'sending')",
                (state, error, _text(due_at), _text(now), delivery),
            )

    def deliveries(self, most: int = ALL) -> list[Delivery]:
        """Return the deliveries, the newest event first, at most ``most``."""
        with self._reading() as connection:
            rows = connection.execute(f"{_DELIVERY} ORDER BY e.happened_at DESC, d.id DESC LIMIT ?", (most,))
            return [_delivery(row) for row in rows]

    def counts(self) -> dict[tuple[str, str], int]:
        """Return the number of deliveries by destination and state."""
        with self._reading() as connection:
            rows = connection.execute("SELECT destination, state, count(*) FROM deliveries GROUP BY 1, 2 ORDER BY 1, 2")
            return {(destination, state): count for destination, state, count in rows}

    def troubled(self, since: datetime) -> dict[tuple[str, str], int]:
        """Return the number of deliveries by destination and state that were given up or may be lost since a time
        (naive UTC), or that were refused more than once and are tried again."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT destination, state, count(*) FROM deliveries WHERE "
                "(state IN ('failed', 'unknown') AND changed_at >= ?) OR (state = 'pending' AND attempts > 1) "
                "GROUP BY 1, 2 ORDER BY 1, 2",
                (_text(since),),
            )
            return {(destination, state): count for destination, state, count in rows}

    @contextmanager
    def sending(self) -> Iterator[bool]:
        """Try to become the one sender while the block runs; yield whether there was none."""
        with self._named_errors(), exclusive(self.path.with_suffix(".sending")) as is_free:
            yield is_free

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._reading() as connection, transaction(connection):
            yield connection

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with self._named_errors(), closing(connect(self.path)) as connection:
            if not bring_up_to_date(connection):
                raise AlertLedgerError(of_newer_version(self.path))
            yield connection

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            raise AlertLedgerError(f"{place(self.path)}: the ledger of alerts cannot be used: {error}") from error


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables; return whether this program may use the ledger."""
    return upgrade(connection, [(files("bizcharts_pipeline.alerts") / "schema.sql").read_text(encoding="utf-8")])


def _note(connection: Connection, name: str) -> str:
    row = connection.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return str(row[0]) if row else ""


def _insert(connection: Connection, event: Event, now: datetime) -> bool:
    inserted = connection.execute(
        "INSERT INTO events VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (key) DO NOTHING",
        (event.key, event.kind, event.subject, event.title, event.message, _text(event.happened_at), _text(now)),
    )
    return inserted.rowcount == 1


def _delivery(row: tuple[Any, ...]) -> Delivery:
    """Convert a row of ``_DELIVERY``."""
    values = dict(zip(_NAMES, row, strict=True))
    return Delivery(**values | {name: datetime.fromisoformat(values[name]) for name in _TIMES})


_NAMES = tuple(field.name for field in fields(Delivery))
_TIMES = ("happened_at", "due_at", "changed_at")


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
