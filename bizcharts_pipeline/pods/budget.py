"""Hard budget: the maximum cost of a pod is reserved before the pod is ordered.

All functions run inside the caller's exclusive transaction on the ledger, so that check and reservation are atomic. A
terminated pod is booked at its actual cost: its price times its seconds.
"""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from bizcharts_pipeline.core.ledgers import Connection
from bizcharts_pipeline.core.money import in_usd, nano_usd
from bizcharts_pipeline.pods.errors import OverBudget

HOUR = 3600


@dataclass(frozen=True)
class Caps:
    """Maximum cost in USD of a job until it has a result, and of a calendar month (UTC).

    ``per_run`` covers all pods of all attempts at the same job (same data set, settings and code) since its last
    result: a retry uses what is left of it. Other data or settings make another job.
    """

    per_run: Decimal
    per_month: Decimal


@dataclass(frozen=True)
class Spent:
    """Money spent: ``ended_usd`` by terminated pods, at most ``booked_usd`` by the others."""

    ended_usd: Decimal
    booked_usd: Decimal
    pods: int

    @property
    def usd(self) -> Decimal:
        """The total cost of pods, which is compared with the caps."""
        return self.ended_usd + self.booked_usd


def cost(usd_per_hour: Decimal, seconds: float) -> int:
    """Return the cost of a pod for ``seconds`` in nano-USD, rounded up."""
    return nano_usd(usd_per_hour * Decimal(repr(max(seconds, 0.0))) / HOUR)


def check(connection: Connection, job: int, pod: int | None, nano: int, caps: Caps, now: datetime) -> None:
    """Check that ``nano`` more are left for the ledger's row ``pod`` (``None``: a new one) of ``job``.

    Raises:
        OverBudget: they are not; the message names the setting to raise.
    """
    month = now.strftime("%Y-%m")
    for total, cap, setting, what in (
        (_of_attempts(connection, job, pod), caps.per_run, "usd_per_run", " by this job since its last result"),
        (_of_month(connection, month, pod), caps.per_month, "usd_per_month", f" in {month}"),
    ):
        if in_usd(total + nano) > cap:
            already = f", and ${in_usd(total):.4f} are already spent or reserved{what}" if total else ""
            raise OverBudget(
                f"The pod may cost up to ${in_usd(nano):.4f} until the job's time limit{already}; "
                f"{setting} of [pods] is ${cap:f}. Choose a cheaper GPU, lower max_hours, or raise {setting}."
            )


def _of_attempts(connection: Connection, job: int, pod: int | None) -> int:
    """Return the cost of all attempts at this job (runs with the same key) since its last result."""
    query = """
        SELECT coalesce(sum(p.nano_usd), 0) FROM pods AS p JOIN jobs AS j ON j.id = p.job
        WHERE (:pod IS NULL OR p.id <> :pod) AND j.key = (SELECT key FROM jobs WHERE id = :job)
          AND j.id > (SELECT coalesce(max(done.id), 0) FROM jobs AS done
                      WHERE done.key = j.key AND done.outcome = 'finished' AND done.id < :job)
    """
    return int(connection.execute(query, {"job": job, "pod": pod}).fetchone()[0])


def _of_month(connection: Connection, month: str, pod: int | None) -> int:
    query = (
        "SELECT coalesce(sum(nano_usd), 0) FROM pods WHERE substr(created_at, 1, 7) = :month "
        "AND (:pod IS NULL OR id <> :pod)"
    )
    return int(connection.execute(query, {"month": month, "pod": pod}).fetchone()[0])


def spent(connection: Connection, *, job: int | None = None, month: str | None = None) -> Spent:
    """Return the cost of a job, or of the pods created in a month ('2026-11', UTC); without arguments, of all pods."""
    row = connection.execute(
        "SELECT coalesce(sum(nano_usd) FILTER (WHERE ended_at IS NOT NULL), 0), "
        "coalesce(sum(nano_usd) FILTER (WHERE ended_at IS NULL), 0), count(*) FILTER (WHERE pod_id IS NOT NULL) "
        "FROM pods WHERE (:job IS NULL OR job = :job) AND (:month IS NULL OR substr(created_at, 1, 7) = :month)",
        {"job": job, "month": month},
    ).fetchone()
    return Spent(in_usd(row[0]), in_usd(row[1]), row[2])
