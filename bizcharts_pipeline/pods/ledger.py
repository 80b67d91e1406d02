"""The ledger of pods: what was asked for, what it may cost, what became of it; written before each step that counts.

SQLite in WAL mode, each commit flushed to the disk: a kill at any moment loses neither a pod nor a booking. No secret
is ever written here.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path

from bizcharts_pipeline.core.sqlite import connect, is_full, transaction, upgrade
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
FOLDERS = Path("pods")  # below the home: a folder for each job
_SCHEMAS = ("schema.sql", "schema_2.sql")  # each makes the next version out of the one before it
_STRAY = "job, pod_id, state, gpu, machine, usd_per_hour"
_LATE = timedelta(hours=1)  # a pod that nobody expected may come of an order as old as this


class PodLedger:
    """The ledger in the file ``path``, made on first use. It is opened for each call alone; many processes may use it
    at once."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def folder(self, key: str) -> Path:
        """Return the local folder of a job, beside the ledger's own: its lock, keys, checkpoint, salvaged logs."""
        return self.path.parent.parent / FOLDERS / key

    # Jobs.

    def open_job(self, key: str, provider: str) -> JobRow | None:
        """Return the job that somebody has begun and not ended."""
        with self._reading() as connection:
            row = connection.execute(
                f"{JOB_QUERY} WHERE key = ? AND provider = ? AND ended_at IS NULL", (key, provider)
            )
            found = row.fetchone()
            return found and job_row(found)

    def job(self, job: int) -> JobRow:
        """Return a job."""
        with self._reading() as connection:
            return job_row(connection.execute(f"{JOB_QUERY} WHERE id = ?", (job,)).fetchone())

    def begin(self, key: str, name: str, provider: str, run_id: str, now: datetime) -> JobRow:
        """Open a job anew; one that was left open is closed as abandoned."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET ended_at = ?, outcome = 'abandoned' "
                "WHERE key = ? AND provider = ? AND ended_at IS NULL",
                (as_text(now), key, provider),
            )
            job = connection.execute(
                "INSERT INTO jobs (key, name, provider, run_id, started_at) VALUES (?, ?, ?, ?, ?)",
                (key, name, provider, run_id, as_text(now)),
            ).lastrowid
            return job_row(connection.execute(f"{JOB_QUERY} WHERE id = ?", (job,)).fetchone())

    def resume(self, job: int, run_id: str) -> None:
        """Note that another run goes on with a job."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET run_id = ? WHERE id = ?", (run_id, job))

    def collecting(self, job: int, into: Path) -> None:
        """Note where the result will be once it is whole."""
        with self._transaction() as connection:
            connection.execute("UPDATE jobs SET result = ? WHERE id = ?", (str(into.absolute()), job))

    def close(self, job: int, outcome: str, now: datetime) -> None:
        """Note how a job ended."""
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
        """Book the most that a pod may cost, before it is asked for; return its row.

        Args:
            row: the row of a pod that was asked for in vain, which this one replaces.
            seconds: that it may live at most.
            asked_at: when a pod of this name was asked for first that may be there: its life is booked from then on.

        Raises:
            OverBudget: nothing was booked.
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
                connection.execute(f"UPDATE pods SET ({columns}) = ({_marks(values)}) WHERE id = ?", (*values, row))
                return row
            booked = connection.execute(f"INSERT INTO pods ({columns}) VALUES ({_marks(values)})", values)
            assert booked.lastrowid is not None
            return booked.lastrowid

    def ordered(self, row: int, now: datetime) -> None:
        """Note that an order is sent: from now on a pod may come of it, whatever the answer is."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET ordered_at = ? WHERE id = ?", (as_text(now), row))

    def found(self, row: int, pod: Pod) -> PodRow:
        """Note which pod came of an order, and book it at the price that it is charged, where that is told."""
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
        """Book a pod that is not proven to be gone at the price that it is charged, over all of its life."""
        with self._transaction() as connection:
            before = _one(connection, row)
            if before.ended_at is None:
                connection.execute(
                    "UPDATE pods SET usd_per_hour = ?, nano_usd = ? WHERE id = ?",
                    (str(usd_per_hour), budget.cost(usd_per_hour, before.seconds), row),
                )
            return _one(connection, row)

    def check_budget(self, row: int, caps: Caps, now: datetime) -> None:
        """Make sure that what is booked for a pod is within the caps.

        Raises:
            OverBudget: it is not.
        """
        with self._reading() as connection:
            nano = connection.execute("SELECT job, nano_usd FROM pods WHERE id = ?", (row,)).fetchone()
            budget.check(connection, nano[0], row, nano[1], caps, now)

    def stray(self, like: PodRow, pod: Pod, now: datetime) -> PodRow:
        """Book a pod of a job's name that the ledger does not know, whatever the budget says: it is there.

        It counts from the oldest order that it may have come of: that of ``like``, or one shortly before of which
        nobody knew what came. A pod that was taken to have ended and is listed all the same lives on in its own row.
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
                "WHERE j.name = ? AND p.pod_id IS NULL AND p.ordered_at NOT NULL AND p.created_at BETWEEN ? AND ?",
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
            row = connection.execute(f"INSERT INTO pods ({columns}) VALUES ({_marks(values)})", values).lastrowid
            assert row is not None
            return _one(connection, row)

    def seen(self, row: int, now: datetime) -> PodRow:
        """Note that the control plane shows a pod."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE pods SET seen_at = coalesce(seen_at, ?), missing_since = NULL, absences = 0 WHERE id = ?",
                (as_text(now), row),
            )
            return _one(connection, row)

    def told(self, row: int, now: datetime) -> PodRow:
        """Note that the control plane accepted the request to end a pod."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET told_at = coalesce(told_at, ?) WHERE id = ?", (as_text(now), row))
            return _one(connection, row)

    def missing(self, row: int, now: datetime, *, counts: bool) -> PodRow:
        """Note that the control plane did not show a pod; ``counts``: late enough for that to mean something."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE pods SET missing_since = coalesce(missing_since, ?), absences = absences + ? WHERE id = ?",
                (as_text(now), int(counts), row),
            )
            return _one(connection, row)

    def sighted(self, provider: str, pod_id: str, now: datetime) -> datetime:
        """Return since when the reaper has known of a pod that no row names."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT OR IGNORE INTO sightings (provider, pod_id, first_at) VALUES (?, ?, ?)",
                (provider, pod_id, as_text(now)),
            )
            found = connection.execute(
                "SELECT first_at FROM sightings WHERE provider = ? AND pod_id = ?", (provider, pod_id)
            ).fetchone()
            return datetime.fromisoformat(found[0])

    def enter(self, job: int, row: int | None, state: State, detail: str, now: datetime) -> None:
        """Note that a job, and its pod if there is one, enter a state."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO events (job, pod, at, state, detail) VALUES (?, ?, ?, ?, ?)",
                (job, row, as_text(now), state, detail.encode("utf-8", "replace").decode()),
            )
            connection.execute("UPDATE pods SET state = ? WHERE id = ? AND ended_at IS NULL", (state, row))

    def staging(self, row: int, root: str, gpu: str | None) -> PodRow:
        """Note the job's folder on a pod, and the GPU that was really seen there."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET root = ?, gpu = ? WHERE id = ?", (root, gpu, row))
            return _one(connection, row)

    def launched(self, row: int) -> None:
        """Note that the job was started on a pod."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET launched = 1 WHERE id = ?", (row,))

    def bad_host(self, row: int) -> None:
        """Note that a pod's machine is not to be taken again."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET bad_host = 1 WHERE id = ?", (row,))

    def bad_machines(self, job: int) -> frozenset[str]:
        """Return the machines that this job does not take again."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT machine FROM pods WHERE job = ? AND bad_host AND machine NOT NULL", (job,)
            )
            return frozenset(machine for (machine,) in rows)

    def end(self, row: int, ended_at: datetime) -> None:
        """Note that a pod is verified to be gone, and what it cost; a row of which there never was a pod costs
        nothing."""
        with self._transaction() as connection:
            pod = _one(connection, row)
            seconds = (ended_at - pod.created_at).total_seconds() if pod.pod_id is not None else 0.0
            connection.execute(
                "UPDATE pods SET ended_at = ?, state = ?, nano_usd = ? WHERE id = ? AND ended_at IS NULL",
                (as_text(ended_at), State.RELEASED, budget.cost(pod.usd_per_hour, seconds), row),
            )

    def pods(self, job: int | None = None) -> list[PodRow]:
        """Return the pods of a job, or all, the first one first; questions that came to nothing are left out."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{POD_QUERY} WHERE (?1 IS NULL OR p.job = ?1) AND p.pod_id NOT NULL ORDER BY p.id", (job,)
            )
            return [pod_row(row) for row in rows]

    def live(self, provider: str | None = None, key: str | None = None) -> list[PodRow]:
        """Return the pods of a provider, of one job or of all, that are not proven to be gone, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{POD_QUERY} WHERE p.ended_at IS NULL AND (?1 IS NULL OR j.provider = ?1) "
                "AND (?2 IS NULL OR j.key = ?2) ORDER BY p.id",
                (provider, key),
            )
            return [pod_row(row) for row in rows]

    def names(self, provider: str, since: datetime) -> dict[str, str]:
        """Return the key of each job, by the name of its pods, that rented from ``provider`` since then."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT name, key FROM jobs WHERE provider = ? AND (ended_at IS NULL OR ended_at >= ?)",
                (provider, as_text(since)),
            )
            return dict(rows.fetchall())

    def providers(self, since: datetime) -> set[str]:
        """Return the providers of the pods that are not proven to be gone, and of the jobs that ended since then."""
        with self._reading() as connection:
            rows = connection.execute(
                "SELECT DISTINCT provider FROM jobs AS j WHERE ended_at IS NULL OR ended_at >= ? "
                "OR EXISTS (SELECT 1 FROM pods WHERE job = j.id AND ended_at IS NULL)",
                (as_text(since),),
            )
            return {provider for (provider,) in rows}

    def first(self, provider: str, key: str) -> PodRow | None:
        """Return the first row of the last job of a key: what is found later of that name is not older."""
        with self._reading() as connection:
            row = connection.execute(
                f"{POD_QUERY} WHERE j.provider = ? AND j.key = ? ORDER BY p.job DESC, p.id LIMIT 1", (provider, key)
            ).fetchone()
            return row and pod_row(row)

    def before(self, row: PodRow) -> PodRow | None:
        """Return the row before another of the same job's name: of its order is what comes too late for it."""
        with self._reading() as connection:
            found = connection.execute(
                f"{POD_QUERY} WHERE j.name = ? AND p.id < ? ORDER BY p.id DESC LIMIT 1", (row.name, row.id)
            ).fetchone()
            return found and pod_row(found)

    def events(self, job: int) -> list[Event]:
        """Return what happened to a job, in its order."""
        with self._reading() as connection:
            rows = connection.execute("SELECT at, state, detail, pod FROM events WHERE job = ? ORDER BY id", (job,))
            return [Event(datetime.fromisoformat(at), State(state), detail, pod) for at, state, detail, pod in rows]

    def spent(self, month: str | None = None, *, job: int | None = None) -> Spent:
        """Return what the pods created in a month ('2026-11', UTC), or of a job, or with neither all of them cost."""
        with self._reading() as connection:
            return budget.spent(connection, job=job, month=month)

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection]:
        try:
            with closing(connect(self.path)) as connection:
                self._bring_up_to_date(connection)
                yield connection
        except sqlite3.Error as error:
            kind = LedgerNotWritable if is_full(error) else PodLedgerError
            raise kind(f"{self.path}: the ledger of pods cannot be used: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection, transaction(connection):
            yield connection

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        folder = files("bizcharts_pipeline.pods")
        if not upgrade(connection, [(folder / name).read_text(encoding="utf-8") for name in _SCHEMAS]):
            raise PodLedgerError(f"{self.path} was written by a newer BizCharts; use that")


def _one(connection: sqlite3.Connection, row: int) -> PodRow:
    return pod_row(connection.execute(f"{POD_QUERY} WHERE p.id = ?", (row,)).fetchone())


def _marks(values: tuple[object, ...]) -> str:
    return ", ".join("?" * len(values))
