"""Ledger of pods: orders, maximum and actual cost, and states, written before each relevant step.

Each commit is durable: a kill at any moment loses neither a pod nor a reservation. No secret is ever written here.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

from bizcharts_pipeline.core.ledgers import Connection, connect, marks, of_newer_version, place, transaction, upgrade
from bizcharts_pipeline.core.sqlite import is_full
from bizcharts_pipeline.pods import budget
from bizcharts_pipeline.pods.budget import Caps, Spent
from bizcharts_pipeline.pods.errors import LedgerNotWritable, PodLedgerError
from bizcharts_pipeline.pods.ledger_rows import (
    JOB_QUERY,
    POD_QUERY,
    Event,
    JobRow,
    PodRow,
    as_text,
    job_row,
    pod_row,
)
from bizcharts_pipeline.pods.protocol import Candidate, Pod, State

LEDGER = Path("ledgers") / "pods.sqlite"  # below the home
FOLDERS = Path("pods")  # below the home, with a folder for each job
_SCHEMAS = ("schema.sql", "schema_2.sql")  # each upgrades the schema by one version
_STRAY = "job, pod_id, state, gpu, machine, usd_per_hour"
_LATE = timedelta(hours=1)  # an unexpected pod may come from an order up to this old


class PodLedger:
    """The ledger ``path``, created on first use. It is opened for each call; safe for many processes."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def folder(self, key: str) -> Path:
        """Return the local folder of a job on pods, next to the ledger's folder: its lock, keys, checkpoint and
        salvaged logs."""
        return self.path.parent.parent / FOLDERS / key

    # Jobs.

    def open_job(self, key: str, provider: str) -> JobRow | None:
        """Return the open job on pods of a key and provider, if there is one."""
        with self._reading() as connection:
            row = connection.execute(
                f"{JOB_QUERY} WHERE key = ? AND provider = ? AND ended_at IS NULL", (key, provider)
            )
            found = row.fetchone()
            return found and job_row(found)

    def job(self, job: int) -> JobRow:
        """Return the job on pods with this id."""
        with self._reading() as connection:
            return job_row(connection.execute(f"{JOB_QUERY} WHERE id = ?", (job,)).fetchone())

    def begin(self, key: str, name: str, provider: str, run_id: str, now: datetime) -> JobRow:
        """Open a job on pods; an earlier open one of the same key is closed as abandoned."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET ended_at = ?, outcome = 'abandoned' "
                "WHERE key = ? AND provider = ? AND ended_at IS NULL",
                (as_text(now), key, provider),
            )
            job = connection.execute(
                "INSERT INTO jobs (key, name, provider, run_id, started_at) VALUES (?, ?, ?, ?, ?) RETURNING id",
                (key, name, provider, run_id, as_text(now)),
            ).fetchone()[0]
            return job_row(connection.execute(f"{JOB_QUERY} WHERE id = ?", (job,)).fetchone())

    def resume(self, job: int, run_id: str) -> None:
        """Record that another run continues a job on a pod."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET run_id = ? WHERE id = ?", (run_id, job))

    def collecting(self, job: int, into: Path) -> None:
        """Record the folder into which a job's result is fetched from the pod."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET result = ? WHERE id = ?", (str(into.absolute()), job))

    def close(self, job: int, outcome: str, now: datetime) -> None:
        """Record the outcome of a job on pods."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET ended_at = ?, outcome = ? WHERE id = ? AND ended_at IS NULL",
                (as_text(now), outcome, job),
            )

    # Pods.

    def book(
        self,
        job: int,
        row: int | None,
        candidate: Candidate,
        usd_per_hour: Decimal,
        seconds: float,
        caps: Caps,
        now: datetime,
        asked_at: datetime,
    ) -> int:
        """Reserve the maximum cost of a pod before it is ordered; return its row.

        Args:
            row: the row of an unsuccessful order that this one replaces.
            seconds: maximum lifetime of the pod.
            asked_at: time of the first order from which a pod of this name may exist; its life is billed from then on.

        Raises:
            OverBudget: the cost could exceed a limit; nothing was reserved.
        """
        nano = budget.cost(usd_per_hour, seconds)
        with self._transaction() as connection:
            budget.check(connection, job, row, nano, caps, now)
            values = (
                job,
                State.CREATING,
                candidate.gpu,
                candidate.cloud,
                candidate.data_center,
                str(usd_per_hour),
                nano,
                as_text(asked_at),
                as_text(now + timedelta(seconds=seconds)),
            )
            columns = "job, state, gpu, cloud, data_center, usd_per_hour, nano_usd, created_at, deadline"
            if row is not None:
                connection.execute(f"UPDATE pods SET ({columns}) = ({marks(values)}) WHERE id = ?", (*values, row))
                return row
            return _add(connection, columns, values)

    def ordered(self, row: int, now: datetime) -> None:
        """Record that an order is sent; a pod may exist from now on, whatever the answer."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET ordered_at = ? WHERE id = ?", (as_text(now), row))

    def found(self, row: int, pod: Pod) -> PodRow:
        """Record the pod of an order, at its actual price if that is known."""
        with self._transaction() as connection:
            before = _one(connection, row)
            price = before.usd_per_hour if pod.usd_per_hour is None else pod.usd_per_hour
            connection.execute(
                "UPDATE pods SET pod_id = ?, machine = ?, gpu = coalesce(?, gpu), usd_per_hour = ?, nano_usd = ? "
                "WHERE id = ?",
                (pod.pod_id, pod.machine, pod.gpu, str(price), budget.cost(price, before.seconds), row),
            )
            return _one(connection, row)

    def charged(self, row: int, usd_per_hour: Decimal) -> PodRow:
        """Set the hourly price of a pod whose termination is not proven; it applies from the pod's start."""
        with self._transaction() as connection:
            before = _one(connection, row)
            if before.ended_at is None:
                connection.execute(
                    "UPDATE pods SET usd_per_hour = ?, nano_usd = ? WHERE id = ?",
                    (str(usd_per_hour), budget.cost(usd_per_hour, before.seconds), row),
                )
            return _one(connection, row)

    def check_budget(self, row: int, caps: Caps, now: datetime) -> None:
        """Check that a pod's reservation is within the caps.

        Raises:
            OverBudget: it is not.
        """
        with self._reading() as connection:
            nano = connection.execute("SELECT job, nano_usd FROM pods WHERE id = ?", (row,)).fetchone()
            budget.check(connection, nano[0], row, nano[1], caps, now)

    def stray(self, like: PodRow, pod: Pod, now: datetime) -> PodRow:
        """Book an unknown pod with a job's name, regardless of the budget, as it exists.

        It is billed from the oldest order that may have created it: that of ``like``, or one shortly before it with
        unknown outcome. If the pod was booked as terminated but is listed again, its own row is reopened.
        """
        price = like.usd_per_hour if pod.usd_per_hour is None else pod.usd_per_hour
        with self._transaction() as connection:
            found = connection.execute(f"{POD_QUERY} WHERE p.pod_id = ? ORDER BY p.id DESC", (pod.pod_id,)).fetchone()
            if found:
                known = pod_row(found)
                if known.ended_at is not None:
                    seconds = (max(known.deadline, now) - known.created_at).total_seconds()
                    connection.execute(
                        "UPDATE pods SET ended_at = NULL, state = ?, nano_usd = ?, missing_since = NULL, absences = 0, "
                        "told_at = NULL WHERE id = ?",
                        (State.RELEASING, budget.cost(known.usd_per_hour, seconds), known.id),
                    )
                return _one(connection, known.id)
            oldest = connection.execute(
                "SELECT min(p.created_at) FROM pods AS p JOIN jobs AS j ON j.id = p.job "
                "WHERE j.name = ? AND p.pod_id IS NULL AND p.ordered_at IS NOT NULL AND p.created_at BETWEEN ? AND ?",
                (like.name, as_text(like.created_at - _LATE), as_text(like.created_at)),
            ).fetchone()[0]
            since = datetime.fromisoformat(oldest) if oldest else like.created_at
            until = max(like.deadline, now)
            values = (
                like.job,
                pod.pod_id,
                State.RELEASING,
                pod.gpu,
                pod.machine,
                str(price),
                budget.cost(price, (until - since).total_seconds()),
                as_text(since),
                as_text(until),
                as_text(now),
                as_text(now),
            )
            columns = f"{_STRAY}, nano_usd, created_at, deadline, ordered_at, seen_at"
            return _one(connection, _add(connection, columns, values))

    def seen(self, row: int, now: datetime) -> PodRow:
        """Record that the control plane lists a pod."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE pods SET seen_at = coalesce(seen_at, ?), missing_since = NULL, absences = 0 WHERE id = ?",
                (as_text(now), row),
            )
            return _one(connection, row)

    def termination_accepted(self, row: int, now: datetime) -> PodRow:
        """Record that the control plane accepted the request to terminate a pod."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET told_at = coalesce(told_at, ?) WHERE id = ?", (as_text(now), row))
            return _one(connection, row)

    def missing(self, row: int, now: datetime, *, counts: bool) -> PodRow:
        """Record that the control plane did not list a pod. ``counts``: late enough to count as evidence."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE pods SET missing_since = coalesce(missing_since, ?), absences = absences + ? WHERE id = ?",
                (as_text(now), int(counts), row),
            )
            return _one(connection, row)

    def sighted(self, provider: str, pod_id: str, now: datetime) -> datetime:
        """Return when the reaper first saw a pod that has no row."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO sightings (provider, pod_id, first_at) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (provider, pod_id, as_text(now)),
            )
            found = connection.execute(
                "SELECT first_at FROM sightings WHERE provider = ? AND pod_id = ?", (provider, pod_id)
            ).fetchone()
            return datetime.fromisoformat(found[0])

    def enter(self, job: int, row: int | None, state: State, detail: str, now: datetime) -> None:
        """Record that a job, and its pod if there is one, enter a state."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO events (job, pod, at, state, detail) VALUES (?, ?, ?, ?, ?)",
                (job, row, as_text(now), state, detail.encode("utf-8", "replace").decode()),
            )
            connection.execute("UPDATE pods SET state = ? WHERE id = ? AND ended_at IS NULL", (state, row))

    def staging(self, row: int, root: str, gpu: str | None) -> PodRow:
        """Record the job's folder on a pod, and the GPU detected there."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET root = ?, gpu = ? WHERE id = ?", (root, gpu, row))
            return _one(connection, row)

    def launched(self, row: int) -> None:
        """Record that the job was started on a pod."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET launched = 1 WHERE id = ?", (row,))

    def bad_host(self, row: int) -> None:
        """Record that a pod's machine must not be used again."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET bad_host = 1 WHERE id = ?", (row,))

    def bad_machines(self, job: int) -> frozenset[str]:
        """Return the machines on which this job must not rent a pod again."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT machine FROM pods WHERE job = ? AND bad_host = 1 AND machine IS NOT NULL", (job,)
            )
            return frozenset(machine for (machine,) in rows)

    def end(self, row: int, ended_at: datetime) -> None:
        """Record that a pod is proven to be terminated, and its cost; a row that never had a pod costs nothing."""
        with self._transaction() as connection:
            pod = _one(connection, row)
            seconds = (ended_at - pod.created_at).total_seconds() if pod.pod_id is not None else 0.0
            connection.execute(
                "UPDATE pods SET ended_at = ?, state = ?, nano_usd = ? WHERE id = ? AND ended_at IS NULL",
                (as_text(ended_at), State.RELEASED, budget.cost(pod.usd_per_hour, seconds), row),
            )

    def pods(self, job: int | None = None) -> list[PodRow]:
        """Return the pods of a job, or all pods, by age; orders without a pod are left out."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{POD_QUERY} WHERE (:job IS NULL OR p.job = :job) AND p.pod_id IS NOT NULL ORDER BY p.id",
                {"job": job},
            )
            return [pod_row(row) for row in rows]

    def live(self, provider: str | None = None, key: str | None = None) -> list[PodRow]:
        """Return the pods, of a provider, a job or all, whose termination is not proven, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{POD_QUERY} WHERE p.ended_at IS NULL AND (:provider IS NULL OR j.provider = :provider) "
                "AND (:key IS NULL OR j.key = :key) ORDER BY p.id",
                {"provider": provider, "key": key},
            )
            return [pod_row(row) for row in rows]

    def names(self, provider: str, since: datetime) -> dict[str, str]:
        """Return the job keys by pod name, for open jobs at ``provider`` and those that ended since ``since``."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT name, key FROM jobs WHERE provider = ? AND (ended_at IS NULL OR ended_at >= ?)",
                (provider, as_text(since)),
            )
            return dict(rows.fetchall())

    def providers(self, since: datetime) -> set[str]:
        """Return the providers with pods that are not proven to be terminated, with open jobs, or with jobs that ended
        since ``since``."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT provider FROM jobs AS j WHERE ended_at IS NULL OR ended_at >= ? "
                "OR EXISTS (SELECT 1 FROM pods WHERE job = j.id AND ended_at IS NULL)",
                (as_text(since),),
            )
            return {provider for (provider,) in rows}

    def first(self, provider: str, key: str) -> PodRow | None:
        """Return the first row of a key's last job: a pod of that name found later is not older."""
        with self._reading() as connection:
            row = connection.execute(
                f"{POD_QUERY} WHERE j.provider = ? AND j.key = ? ORDER BY p.job DESC, p.id LIMIT 1", (provider, key)
            ).fetchone()
            return row and pod_row(row)

    def before(self, row: PodRow) -> PodRow | None:
        """Return the previous row with the same job name. A pod that appears late may belong to that row's order."""
        with self._reading() as connection:
            found = connection.execute(
                f"{POD_QUERY} WHERE j.name = ? AND p.id < ? ORDER BY p.id DESC LIMIT 1", (row.name, row.id)
            ).fetchone()
            return found and pod_row(found)

    def events(self, job: int) -> list[Event]:
        """Return the events of a job on pods, in order."""
        with self._reading() as connection:
            rows = connection.execute("SELECT at, state, detail, pod FROM events WHERE job = ? ORDER BY id", (job,))
            return [Event(datetime.fromisoformat(at), State(state), detail, pod) for at, state, detail, pod in rows]

    def spent(self, month: str | None = None, *, job: int | None = None) -> Spent:
        """Return the cost of the pods created in a month ('2026-11', UTC) or of a job; without arguments, of all
        pods."""
        with self._reading() as connection:
            return budget.spent(connection, job=job, month=month)

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        try:
            with closing(connect(self.path)) as connection:
                if not bring_up_to_date(connection):
                    raise PodLedgerError(of_newer_version(self.path))
                yield connection
        except sqlite3.Error as error:
            kind = LedgerNotWritable if is_full(error) else PodLedgerError
            raise kind(f"{place(self.path)}: the ledger of pods cannot be used: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[Connection]:
        with self._reading() as connection, transaction(connection):
            yield connection


def bring_up_to_date(connection: Connection) -> bool:
    """Create the tables, or upgrade them; return whether this program may use the ledger."""
    folder = files("bizcharts_pipeline.pods")
    return upgrade(connection, [(folder / name).read_text(encoding="utf-8") for name in _SCHEMAS])


def _add(connection: Connection, columns: str, values: Sequence[object]) -> int:
    """Add a row to ``pods``; return its id."""
    insert = f"INSERT INTO pods ({columns}) VALUES ({marks(values)}) RETURNING id"
    return int(connection.execute(insert, values).fetchone()[0])


def _one(connection: Connection, row: int) -> PodRow:
    return pod_row(connection.execute(f"{POD_QUERY} WHERE p.id = ?", (row,)).fetchone())
