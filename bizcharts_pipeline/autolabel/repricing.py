"""Tracks which models answer for a requested one, and adjusts reservations to their prices.

A service may answer with another, more expensive model than requested, and a request with unknown outcome names no
model. So the ledger stores the models that answered: later reservations cover the most expensive of them, and when a
new model is seen, the requested model's open and unresolved reservations are raised. A raise (surcharge) is a
reservation of its own, as the ledger is append-only. All functions run inside the caller's transaction.
"""

import time
from dataclasses import replace
from datetime import datetime

from bizcharts_pipeline.autolabel import budget, cost
from bizcharts_pipeline.autolabel.budget import REMEMBERED, BudgetSpent, Caps, Charge, Limits
from bizcharts_pipeline.autolabel.cost import Size, Terms
from bizcharts_pipeline.autolabel.keys import Run, Version
from bizcharts_pipeline.autolabel.protocol import Answer, Usage
from bizcharts_pipeline.core.ledgers import Connection

# Of a request's whole text. English has four to five bytes a token; long runs of one character have more.
MAX_BYTES_PER_TOKEN = 32

# Open reservations, and those of requests with unknown outcome, each with its amount including surcharges.
_RAISABLE = """
SELECT r.id, r.key, r.run_id, r.month, s.reservation IS NOT NULL,
       z.text_tokens, z.has_image, z.output_tokens, z.overrun,
       coalesce(s.nano_usd, r.nano_usd)
       + coalesce((SELECT sum(coalesce(t.nano_usd, q.nano_usd)) FROM surcharges AS x
                   JOIN reservations AS q ON q.id = x.surcharge LEFT JOIN settlements AS t ON t.reservation = q.id
                   WHERE x.reservation = r.id), 0)
FROM reservations AS r JOIN sizes AS z ON z.reservation = r.id
LEFT JOIN settlements AS s ON s.reservation = r.id
WHERE r.provider = ? AND r.model = ? AND r.endpoint = ? AND r.sent_at > ?
AND (s.reservation IS NULL OR (s.basis = 'assumed' AND s.input_tokens IS NULL))
"""


def models_seen(connection: Connection, version: Version, now: datetime) -> frozenset[str]:
    """Return the models that answered for the requested one in the last days, ``""`` for the requested one itself;
    empty if none is known."""
    rows = connection.execute(
        "SELECT answered_by FROM answering_models WHERE provider = ? AND model = ? AND endpoint = ? AND seen_at > ?",
        (version.provider, version.model, version.endpoint, (now - REMEMBERED).isoformat()),
    )
    return frozenset(name for (name,) in rows)


def reserve(
    connection: Connection,
    key: str,
    version: Version,
    run: Run,
    size: Size,
    terms: Terms,
    caps: Caps,
    limits: Limits | None,
    sent_at: float,
) -> int:
    """Reserve the maximum cost of a labelling request of ``size`` over all known answering models; return the
    reservation's id.

    While the answering model is unknown, a reservation covers the provider's most expensive one. If a cap does not
    allow that, a single request is reserved at the requested model's price, as its answer reveals the model.

    Raises:
        BudgetSpent, LimitReached: as :func:`budget.reserve`.
    """
    seen = models_seen(connection, version, run.now)
    nano = cost.worst_case(size, terms.booked(seen))
    try:
        reservation = budget.reserve(connection, key, version, run, nano, caps, limits, sent_at)
    except BudgetSpent:
        where = (version.provider, version.model, version.endpoint, time.time() - REMEMBERED.total_seconds())
        if seen or connection.execute(_RAISABLE, where).fetchone() is not None:
            raise
        nano = cost.worst_case(size, terms)
        reservation = budget.reserve(connection, key, version, run, nano, caps, limits, sent_at)
    connection.execute(
        "INSERT INTO sizes VALUES (?, ?, ?, ?, ?)",
        (reservation, size.text_tokens, size.has_image, size.output_tokens, size.overrun),
    )
    return reservation


def charge(
    connection: Connection, version: Version, reservation: int, answer: Answer, terms: Terms, now: datetime
) -> Charge:
    """Return the cost of a labelling model's answer. A model that answers for the first time first raises the other
    reservations."""
    seen = models_seen(connection, version, now)
    if answer.from_model:
        name = cost.other_model(answer, terms)
        connection.execute(
            "INSERT INTO answering_models VALUES (?, ?, ?, ?, ?) ON CONFLICT (provider, model, endpoint, answered_by) "
            "DO UPDATE SET seen_at = CASE WHEN excluded.seen_at > answering_models.seen_at THEN excluded.seen_at "
            "ELSE answering_models.seen_at END",
            (version.provider, version.model, version.endpoint, name, _text(now)),
        )
        if name not in seen:
            seen |= {name}
            _raise_bookings(connection, version, terms.booked(seen), now)
    if answer.usage is not None and _implausibly_few(connection, reservation, answer.usage):
        answer = replace(answer, usage=None, served=True)
    return cost.charged(answer, terms, budget.booked_nano(connection, reservation), seen)


def _implausibly_few(connection: Connection, reservation: int, usage: Usage) -> bool:
    """Return whether the reported input tokens are fewer than any tokenizer produces for the sent text: some gateways
    report 0 if they do not know. Reservations in older ledgers have no size."""
    row = connection.execute("SELECT text_tokens FROM sizes WHERE reservation = ?", (reservation,)).fetchone()
    reported = max(usage.input_tokens, usage.cached_tokens + usage.cache_write_tokens)
    return row is not None and reported * MAX_BYTES_PER_TOKEN < row[0]


def _raise_bookings(connection: Connection, version: Version, terms: Terms, now: datetime) -> None:
    since = time.time() - REMEMBERED.total_seconds()
    where = (version.provider, version.model, version.endpoint)
    for booking, key, run_id, month, ended, *size, booked in connection.execute(_RAISABLE, (*where, since)).fetchall():
        missing = cost.worst_case(Size(*size), terms) - booked
        if missing <= 0:
            continue
        # A time of 0 keeps it out of the request limits.
        raised = budget.add_reservation(connection, key, version, run_id, month, missing, sent_at=0)
        connection.execute("INSERT INTO surcharges VALUES (?, ?)", (raised, booking))
        if ended:
            budget.settle(connection, raised, "repriced", Charge("assumed", missing), now)


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
