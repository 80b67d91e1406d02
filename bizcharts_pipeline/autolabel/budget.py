"""Hard budget: the maximum cost of a request is reserved before the request is sent.

All functions run inside the caller's exclusive transaction on the ledger, so that check and reservation are atomic. A
reservation that was never settled because its process was killed stays reserved: the service may have answered.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Literal

from bizcharts_pipeline.autolabel.errors import AutoLabelError
from bizcharts_pipeline.autolabel.keys import Run, Version
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Price, Usage
from bizcharts_pipeline.core.ledgers import Connection
from bizcharts_pipeline.core.money import in_usd, nano_usd

MINUTE = 60.0
DAY = 86_400.0

# A request can cost more than was reserved for it. After a reported cost beyond this factor, no other is sent.
MAX_OVERRUN = 20
REMEMBERED = timedelta(days=7)  # period for which overruns and answering models are remembered

Basis = Literal["free", "known", "assumed"]

# With these outcomes, a service that reports no usage may still have billed the request.
_MAYBE_BILLED = frozenset({Outcome.OK, Outcome.MALFORMED, Outcome.UNUSABLE, Outcome.TIMEOUT})


class BudgetSpent(AutoLabelError):
    """The request's maximum cost exceeds the remaining budget."""


class LimitReached(AutoLabelError):
    """The account's request limit is reached; ``wait`` is the number of seconds until a request is allowed."""

    def __init__(self, message: str, wait: float) -> None:
        super().__init__(message)
        self.wait = wait


@dataclass(frozen=True)
class Caps:
    """Maximum cost of a run, of a calendar month and of a day (UTC), in nano-USD; ``None``: no cap."""

    per_run: int | None
    per_month: int | None
    per_day: int | None = None

    @property
    def smallest(self) -> int | None:
        """The smallest of the caps; ``None``: there is none."""
        return min((cap for cap in (self.per_run, self.per_month, self.per_day) if cap is not None), default=None)


@dataclass(frozen=True)
class Limits:
    """Maximum number of requests in any minute and in any 24 hours, over all processes and restarts."""

    per_minute: int
    per_day: int


@dataclass(frozen=True)
class Charge:
    """Cost of a request in nano-USD, and its basis. ``doubt`` is the reason why a person must look at the reported
    usage before another request is sent."""

    basis: Basis
    nano_usd: int
    usage: Usage | None = None
    doubt: str | None = None


@dataclass(frozen=True)
class Spent:
    """Cost by basis.

    ``known`` was reported by the services. ``assumed`` is the maximum cost of requests with unknown outcome: timed out,
    or in flight when their process was killed. ``reserved`` is the maximum cost of the requests in flight now.
    """

    known_usd: Decimal
    known_requests: int
    assumed_usd: Decimal
    assumed_requests: int
    reserved_usd: Decimal
    reserved_requests: int

    @property
    def usd(self) -> Decimal:
        """The total cost of labels, which is compared with the caps."""
        return self.known_usd + self.assumed_usd + self.reserved_usd


def charge(answer: Answer, price: Price, reserved: int, smallest_cap: int | None = None) -> Charge:
    """Return the cost of a labelling model's answer to a request for which ``reserved`` nano-USD were reserved.

    A cost that is hardly possible counts all the same, as the service may bill it, but at most as ``smallest_cap``: it
    uses up the budget, and a false report of billions does not use up the budgets of later months.
    """
    if answer.usage is not None:
        known = nano_usd(price.cost(answer.usage))
        if known <= MAX_OVERRUN * reserved or not reserved:
            return Charge("known", known, answer.usage)
        most = max(smallest_cap or 0, MAX_OVERRUN * reserved)
        doubt = (
            f"it reports {answer.usage.input_tokens:,} tokens in and {answer.usage.output_tokens:,} out for one "
            f"request, over {MAX_OVERRUN} times the expected maximum; check the prices in the settings, and "
            "`image_tokens` where the section has it"
        )
        return Charge("known", min(known, most), answer.usage, doubt)
    return Charge("assumed", reserved) if answer.served or answer.outcome in _MAYBE_BILLED else Charge("free", 0)


def reserve(
    connection: Connection,
    key: str,
    version: Version,
    run: Run,
    nano: int,
    caps: Caps,
    limits: Limits | None,
    sent_at: float,
) -> int:
    """Reserve ``nano`` nano-USD of the labelling budget for one request to be sent at ``sent_at`` (Unix seconds);
    return the reservation's id.

    Raises:
        BudgetSpent: a cap might be exceeded; nothing was reserved.
        LimitReached: a request limit would be exceeded; nothing was reserved.
    """
    day = datetime.fromtimestamp(sent_at, UTC).date()
    for scope, cap in (
        (f"run {run.run_id}", caps.per_run),
        (f"month {run.month}", caps.per_month),
        (f"day {day}", caps.per_day),
    ):
        if cap is not None and (total := _total(connection, scope)) + nano > cap:
            raise BudgetSpent(
                f"${in_usd(total):.4f} of the {scope.split()[0]}'s ${in_usd(cap):f} are spent or reserved, "
                f"and one more request may cost ${in_usd(nano):.6f}"
            )
    if limits is not None:
        _check_limits(connection, version, limits, sent_at)
    return add_reservation(connection, key, version, run.run_id, run.month, nano, sent_at)


def add_reservation(
    connection: Connection, key: str, version: Version, run_id: str, month: str, nano: int, sent_at: float
) -> int:
    """Add a reservation without a check; return its id."""
    booked = connection.execute(
        "INSERT INTO reservations (key, run_id, provider, model, endpoint, month, nano_usd, sent_at) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?) RETURNING id",
        (key, run_id, version.provider, version.model, version.endpoint, month, nano, sent_at),
    )
    return int(booked.fetchone()[0])


def settle(
    connection: Connection,
    reservation: int,
    outcome: str,
    charged: Charge,
    at: datetime,
    seconds: float | None = None,
) -> bool:
    """Replace the reservation of a labelling request and its surcharges by the actual cost; return ``False`` if it was
    already settled."""
    usage = charged.usage
    done = connection.execute(
        "INSERT INTO settlements VALUES (?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (reservation) DO NOTHING",
        (
            reservation,
            outcome,
            charged.basis,
            charged.nano_usd,
            usage and usage.input_tokens,
            usage and usage.output_tokens,
            seconds,
            at.isoformat(timespec="microseconds"),
        ),
    )
    if done.rowcount != 1:
        return False
    connection.execute(
        "INSERT INTO settlements SELECT x.surcharge, 'repriced', 'free', 0, NULL, NULL, NULL, ? FROM surcharges AS x "
        "WHERE x.reservation = ? AND x.surcharge NOT IN (SELECT reservation FROM settlements)",
        (at.isoformat(timespec="microseconds"), reservation),
    )
    return True


def booked_nano(connection: Connection, reservation: int) -> int:
    """Return the amount reserved for an unsettled request, surcharges included, in nano-USD."""
    row = connection.execute(
        "SELECT sum(nano_usd) FROM reservations "
        "WHERE id = :id OR id IN (SELECT surcharge FROM surcharges WHERE reservation = :id)",
        {"id": reservation},
    ).fetchone()
    return int(row[0])


def overrun(connection: Connection, version: Version, now: datetime) -> float:
    """Return the largest ratio of actual to reserved cost of this model's requests in the last days; at least 1."""
    row = connection.execute(
        "SELECT max(s.nano_usd * 1.0 / (r.nano_usd + coalesce((SELECT sum(q.nano_usd) FROM surcharges AS x "
        "JOIN reservations AS q ON q.id = x.surcharge WHERE x.reservation = r.id), 0))) "
        "FROM settlements AS s JOIN reservations AS r ON r.id = s.reservation "
        "WHERE r.provider = ? AND r.model = ? AND r.endpoint = ? AND r.nano_usd > 0 AND s.nano_usd > r.nano_usd "
        "AND s.basis = 'known' AND s.settled_at > ?",
        (version.provider, version.model, version.endpoint, (now - REMEMBERED).isoformat()),
    ).fetchone()
    return max(1.0, row[0] or 1.0)


def spent(connection: Connection, *, run_id: str | None = None, month: str | None = None) -> Spent:
    """Return the cost of a run or of a month; without arguments, of everything."""
    column, value = ("run_id", run_id) if run_id is not None else ("month", month)
    condition = f"WHERE r.{column} = ?" if value is not None else ""
    sums = {"known": (0, 0), "assumed": (0, 0), "reserved": (0, 0), "free": (0, 0)}
    sums |= {
        basis: (nano, count)
        for basis, nano, count in connection.execute(
            "SELECT coalesce(s.basis, 'reserved'), sum(coalesce(s.nano_usd, r.nano_usd)), "
            "count(*) - count(x.surcharge) FROM reservations AS r LEFT JOIN settlements AS s ON s.reservation = r.id "
            f"LEFT JOIN surcharges AS x ON x.surcharge = r.id {condition} GROUP BY 1",
            (value,) if value is not None else (),
        )
    }
    known, assumed, reserved = sums["known"], sums["assumed"], sums["reserved"]
    return Spent(in_usd(known[0]), known[1], in_usd(assumed[0]), assumed[1], in_usd(reserved[0]), reserved[1])


def _total(connection: Connection, scope: str) -> int:
    row = connection.execute("SELECT nano_usd FROM totals WHERE scope = ?", (scope,)).fetchone()
    return int(row[0]) if row else 0


def _check_limits(connection: Connection, version: Version, limits: Limits, sent_at: float) -> None:
    for most, period, name in ((limits.per_minute, MINUTE, "minute"), (limits.per_day, DAY, "24 hours")):
        # The caller with the earlier clock reading may get here last. Requests before and after ``sent_at`` count, so
        # the order does not matter.
        row = connection.execute(
            "SELECT sent_at FROM reservations WHERE provider = ? AND model = ? AND endpoint = ? "
            "AND sent_at > ? AND sent_at < ? ORDER BY sent_at DESC LIMIT 1 OFFSET ?",
            (version.provider, version.model, version.endpoint, sent_at - period, sent_at + period, most - 1),
        ).fetchone()
        if row:
            wait = min(row[0], sent_at) + period - sent_at
            raise LimitReached(f"the account's limit of {most:,} requests in {name} is reached", wait)
