"""The ledger of pods: what was asked for, what it may cost, what became of it; written before each step that counts.

SQLite in WAL mode, each commit flushed to the disk: a kill at any moment loses neither a pod nor a booking. No secret
is ever written here.
"""

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, fields
from datetime import datetime, timedelta
from decimal import Decimal
from importlib.resources import files
from pathlib import Path
from typing import Any

from bizcharts_pipeline.pods import budget
from bizcharts_pipeline.pods.budget import Caps, Spent
from bizcharts_pipeline.pods.errors import PodError
from bizcharts_pipeline.pods.protocol import Candidate, Pod, State
from bizcharts_pipeline.sqlite import bring_up_to_date, connect

LEDGER = Path("ledgers") / "pods.sqlite"  # below the home
FOLDERS = Path("pods")  # below the home: a folder for each job
SCHEMA_VERSION = 1

_POD = """
SELECT p.id, p.job, j.key, j.name, j.run_id, p.pod_id, p.state, p.gpu, p.machine, p.usd_per_hour, p.nano_usd,
       p.created_at, p.deadline, p.ended_at, p.root, p.launched
FROM pods AS p JOIN jobs AS j ON j.id = p.job
"""
_JOB = "SELECT id, key, name, provider, run_id, started_at, ended_at, outcome, result FROM jobs"


class PodLedgerError(PodError):
    """The ledger cannot be used, so nothing may be rented."""


@dataclass(frozen=True)
class JobRow:
    """A job as it was undertaken."""

    id: int
    key: str
    name: str
    provider: str
    run_id: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    result: Path | None  # where its verified result is, if that folder is there


@dataclass(frozen=True)
class PodRow:
    """A pod, or the question whether there is one: ``pod_id`` is ``None``."""

    id: int
    job: int
    key: str
    name: str
    run_id: str
    pod_id: str | None
    state: State
    gpu: str | None
    machine: str | None
    usd_per_hour: Decimal
    usd: Decimal  # at most; once it has ended, exactly
    created_at: datetime
    deadline: datetime
    ended_at: datetime | None
    root: str | None
    launched: bool

    @property
    def seconds(self) -> float:
        """How long it has lived, or may live at most."""
        return ((self.ended_at or self.deadline) - self.created_at).total_seconds()


@dataclass(frozen=True)
class Event:
    """What happened to a job."""

    at: datetime
    state: State
    detail: str
    pod: int | None  # row of the pod


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
            row = connection.execute(f"{_JOB} WHERE key = ? AND provider = ? AND ended_at IS NULL", (key, provider))
            found = row.fetchone()
            return found and _job(found)

    def job(self, job: int) -> JobRow:
        """Return a job."""
        with self._reading() as connection:
            return _job(connection.execute(f"{_JOB} WHERE id = ?", (job,)).fetchone())

    def begin(self, key: str, name: str, provider: str, run_id: str, now: datetime) -> JobRow:
        """Open a job anew; one that was left open is closed as abandoned."""
        with self._transaction() as connection:
            connection.execute(
                "UPDATE jobs SET ended_at = ?, outcome = 'abandoned' "
                "WHERE key = ? AND provider = ? AND ended_at IS NULL",
                (_text(now), key, provider),
            )
            job = connection.execute(
                "INSERT INTO jobs (key, name, provider, run_id, started_at) VALUES (?, ?, ?, ?, ?)",
                (key, name, provider, run_id, _text(now)),
            ).lastrowid
            return _job(connection.execute(f"{_JOB} WHERE id = ?", (job,)).fetchone())

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
                (_text(now), outcome, job),
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
                _text(asked_at),
                _text(now + timedelta(seconds=seconds)),
            )
            columns = "job, state, gpu, cloud, data_center, usd_per_hour, nano_usd, created_at, deadline"
            if row is not None:
                connection.execute(
                    f"UPDATE pods SET ({columns}) = (?, ?, ?, ?, ?, ?, ?, ?, ?) WHERE id = ?", (*values, row)
                )
                return row
            booked = connection.execute(f"INSERT INTO pods ({columns}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", values)
            assert booked.lastrowid is not None
            return booked.lastrowid

    def found(self, row: int, pod: Pod) -> PodRow:
        """Note which pod came of an order. If it is dearer than listed, its time is cut to what was booked."""
        with self._transaction() as connection:
            before = _pod(connection.execute(f"{_POD} WHERE p.id = ?", (row,)).fetchone())
            price, deadline = before.usd_per_hour, before.deadline
            if pod.usd_per_hour is not None:
                price = pod.usd_per_hour
            if price > before.usd_per_hour:
                affordable = float(before.usd / price * budget.HOUR)
                deadline = min(deadline, before.created_at + timedelta(seconds=affordable))
            connection.execute(
                "UPDATE pods SET pod_id = ?, machine = ?, gpu = coalesce(?, gpu), usd_per_hour = ?, deadline = ? "
                "WHERE id = ?",
                (pod.pod_id, pod.machine, pod.gpu, str(price), _text(deadline), row),
            )
            return _pod(connection.execute(f"{_POD} WHERE p.id = ?", (row,)).fetchone())

    def stray(self, like: PodRow, pod: Pod) -> PodRow:
        """Note a second pod of the same name, as an order did twice what it should; booked like the first, from the
        same moment on, whatever the budget says: it is there."""
        price = like.usd_per_hour if pod.usd_per_hour is None else pod.usd_per_hour
        with self._transaction() as connection:
            known = connection.execute(f"{_POD} WHERE p.pod_id = ? AND p.ended_at IS NULL", (pod.pod_id,)).fetchone()
            if known:
                return _pod(known)
            row = connection.execute(
                "INSERT INTO pods (job, pod_id, state, gpu, machine, usd_per_hour, nano_usd, created_at, deadline) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    like.job,
                    pod.pod_id,
                    State.RELEASING,
                    pod.gpu,
                    pod.machine,
                    str(price),
                    budget.cost(price, (like.deadline - like.created_at).total_seconds()),
                    _text(like.created_at),
                    _text(like.deadline),
                ),
            ).lastrowid
            return _pod(connection.execute(f"{_POD} WHERE p.id = ?", (row,)).fetchone())

    def enter(self, job: int, row: int | None, state: State, detail: str, now: datetime) -> None:
        """Note that a job, and its pod if there is one, enter a state."""
        with self._transaction() as connection:
            connection.execute(
                "INSERT INTO events (job, pod, at, state, detail) VALUES (?, ?, ?, ?, ?)",
                (job, row, _text(now), state, detail.encode("utf-8", "replace").decode()),
            )
            connection.execute("UPDATE pods SET state = ? WHERE id = ? AND ended_at IS NULL", (state, row))

    def staging(self, row: int, root: str, gpu: str | None) -> PodRow:
        """Note the job's folder on a pod, and the GPU that was really seen there."""
        with self._transaction() as connection:
            connection.execute("UPDATE pods SET root = ?, gpu = ? WHERE id = ?", (root, gpu, row))
            return _pod(connection.execute(f"{_POD} WHERE p.id = ?", (row,)).fetchone())

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
            pod = _pod(connection.execute(f"{_POD} WHERE p.id = ?", (row,)).fetchone())
            seconds = (ended_at - pod.created_at).total_seconds() if pod.pod_id is not None else 0.0
            connection.execute(
                "UPDATE pods SET ended_at = ?, state = ?, nano_usd = ? WHERE id = ? AND ended_at IS NULL",
                (_text(ended_at), State.RELEASED, budget.cost(pod.usd_per_hour, seconds), row),
            )

    def pods(self, job: int | None = None) -> list[PodRow]:
        """Return the pods of a job, or all, the first one first; questions that came to nothing are left out."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{_POD} WHERE (?1 IS NULL OR p.job = ?1) AND p.pod_id NOT NULL ORDER BY p.id", (job,)
            )
            return [_pod(row) for row in rows]

    def live(self, provider: str, key: str | None = None) -> list[PodRow]:
        """Return the pods, of one job or of all, that are not verified to be gone, the oldest first."""
        with self._reading() as connection:
            rows = connection.execute(
                f"{_POD} WHERE p.ended_at IS NULL AND j.provider = ?1 AND (?2 IS NULL OR j.key = ?2) ORDER BY p.id",
                (provider, key),
            )
            return [_pod(row) for row in rows]

    def first(self, provider: str, key: str) -> PodRow | None:
        """Return the first row of the last job of a key: what is found later of that name is not older."""
        with self._reading() as connection:
            row = connection.execute(
                f"{_POD} WHERE j.provider = ? AND j.key = ? ORDER BY p.job DESC, p.id LIMIT 1", (provider, key)
            ).fetchone()
            return row and _pod(row)

    def before(self, row: PodRow) -> PodRow | None:
        """Return the row before another of the same job's name: of its order is what comes too late for it."""
        with self._reading() as connection:
            found = connection.execute(
                f"{_POD} WHERE j.name = ? AND p.id < ? ORDER BY p.id DESC LIMIT 1", (row.name, row.id)
            ).fetchone()
            return found and _pod(found)

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
            with closing(connect(self.path, autocommit=True)) as connection:
                self._bring_up_to_date(connection)
                yield connection
        except sqlite3.Error as error:
            raise PodLedgerError(f"{self.path}: the ledger of pods cannot be used: {error}") from error

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._reading() as connection:
            connection.execute("BEGIN IMMEDIATE")
            yield connection
            connection.execute("COMMIT")  # closing without it rolls back

    def _bring_up_to_date(self, connection: sqlite3.Connection) -> None:
        schema = (files("bizcharts_pipeline.pods") / "schema.sql").read_text(encoding="utf-8")
        if not bring_up_to_date(connection, schema, SCHEMA_VERSION):
            raise PodLedgerError(f"{self.path} was written by a newer BizCharts; use that")


def _job(row: tuple[Any, ...]) -> JobRow:
    identity, key, name, provider, run_id, started_at, ended_at, outcome, result = row
    return JobRow(
        identity,
        key,
        name,
        provider,
        run_id,
        datetime.fromisoformat(started_at),
        _time(ended_at),
        outcome,
        Path(result) if result else None,
    )


def _pod(row: tuple[Any, ...]) -> PodRow:
    values = dict(zip(_POD_NAMES, row, strict=True))
    return PodRow(
        **values
        | {
            "state": State(values["state"]),
            "usd_per_hour": Decimal(values["usd_per_hour"]),
            "usd": budget.in_usd(values["usd"]),
            "created_at": datetime.fromisoformat(values["created_at"]),
            "deadline": datetime.fromisoformat(values["deadline"]),
            "ended_at": _time(values["ended_at"]),
            "launched": bool(values["launched"]),
        }
    )


_POD_NAMES = tuple(field.name for field in fields(PodRow))


def _time(text: str | None) -> datetime | None:
    return datetime.fromisoformat(text) if text else None


def _text(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")
