"""The stages one after the other on one small simulated world; each can be repeated, disturbed, from where it began."""

import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from unittest.mock import patch

import duckdb
from alerts.receiver import receiver
from faults.disturbed import FIRED
from faults.stages import (
    BOARD_THREADS,
    DAYS,
    LABELS,
    NOW,
    OLD,
    OLD_VERSION,
    RELEASES,
    SPARSE,
    STAGES,
    START,
    THREADS_A_DAY,
    VISION,
    VISION_POSTS,
    Stage,
)
from forked import ForkedProcess, run_script
from installation import REPOSITORY
from models.github_host import SimulatedGitHub
from vision_world import fetch, make_vision_champion, post

from bizcharts_pipeline.core.files import remove_tree
from bizcharts_pipeline.core.sqlite import connect, table_names
from bizcharts_pipeline.demo.hosts import simulated_hosts
from bizcharts_pipeline.demo.label_apis.oracle import Oracle, world_truth
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
from bizcharts_pipeline.demo.labelling import MODEL_RIGHT, label_environment
from bizcharts_pipeline.demo.pictures import picture
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.stances import RATINGS
from bizcharts_pipeline.text.html import html_to_text
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.installation import OUTSIDE
from bizcharts_pipeline.warehouse.migrations import apply, known_migrations

PROGRAM = Path(__file__).with_name("disturbed.py")
PRELOADED = "/usr/lib/fiu/fiu_run_preload.so:/usr/lib/fiu/fiu_posix_preload.so"
SECONDS = 240
REPEATS = 4
KEPT_FOLDERS = ("images", "models", "datasets", "exports", "spool", "attempts")
# What differs after a kill, and may: which run it was, and how long it took; which requests were sent, when, and what
# they cost, as one that was under way is sent again; a random key; and the hour's comparison with a second source of
# prices, which is not repeated. The labels and the prices themselves are in the database.
VOLATILE = {"run_id", "seconds", "applied_at", "usd_per_1000", "auto_labels.usd"}
_OF_REQUESTS = ("requests", "reservations", "settlements", "sizes", "totals", "posts", "surcharges")
NOT_COMPARED = {f"{ledger}: {name}" for ledger in ("auto_labels", "scores") for name in _OF_REQUESTS} | {
    "requests: requests",
    "alerts: notes",
}
SECOND_SOURCE = ("source", "binance")
LOST = "lost+found"  # of a file system of its own
_TOKEN = "token-of-the-simulated-github"

Row = tuple[tuple[str, str], ...]  # names and values
Contents = dict[str, list[Row]]


@dataclass(frozen=True)
class Ended:
    """How a process ended: its exit status, what it printed, and the write at which its fault came, if it came."""

    status: int
    output: str
    steps: list[str]
    fired: str | None


@dataclass(frozen=True)
class Running:
    """A stage at work in a process of its own, and the log of its writes."""

    process: ForkedProcess
    log: Path

    def until_stopped(self) -> bool:
        """Wait for its stop by SIGSTOP; return False if it ended without one."""
        deadline = time.monotonic() + SECONDS
        while self.process.poll() is None:
            if Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()[0] == "T":
                return True
            assert time.monotonic() < deadline
            time.sleep(0.01)
        return False

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def end(self, seconds: float = SECONDS) -> Ended:
        """Wait for its end."""
        output, _ = self.process.communicate(timeout=seconds)
        assert self.process.returncode is not None
        return Ended(self.process.returncode, output, *_read(self.log))


def _read(log: Path) -> tuple[list[str], str | None]:
    lines = log.read_text().splitlines() if log.exists() else []
    fired = next((line.removeprefix(FIRED).strip() for line in lines if line.startswith(FIRED)), None)
    return [line for line in lines if not line.startswith(FIRED)], fired


class Chain:
    """The installation in ``folder / "place"``, and copies of its state before and after each stage. A context manager;
    the simulated hosts stand still at :data:`~faults.stages.NOW`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.place = folder / "place"
        self.world = World(11, START, DAYS, threads_per_day=THREADS_A_DAY)
        self._open = ExitStack()
        self._steps: dict[str, list[str]] = {}
        self._after: dict[str, Contents] = {}
        self._started = 0

    def __enter__(self) -> Self:
        self._open.enter_context(patch("bizcharts_pipeline.demo.world.BOARD_THREADS", BOARD_THREADS))
        self.hosts = self._open.enter_context(simulated_hosts(self.world, NOW))
        self.hosts.move_to(NOW)
        oracle = Oracle(world_truth(self.world, START, NOW), MODEL_RIGHT)
        self.apis = self._open.enter_context(SimulatedLabelApis(oracle))
        self.alerts = self._open.enter_context(receiver())
        self.github = self._open.enter_context(SimulatedGitHub(accepted_token=_TOKEN))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.close()

    def steps(self, stage: Stage) -> list[str]:
        """The writes of the undisturbed stage, in their order."""
        self._reach(stage)
        return self._steps[stage.name]

    def expected(self, stage: Stage) -> Contents:
        """What the undisturbed stage leaves."""
        self._reach(stage)
        return self._after[stage.name]

    def rewind(self, stage: Stage) -> None:
        """Put the installation back to where ``stage`` begins; the folder itself may be a mount."""
        self._reach(stage)
        self._put_back(self._before(stage))
        self.github.forget()

    def run(self, stage: Stage, **disturbed: Any) -> Ended:
        """Run a stage to its end."""
        return self.start(stage, **disturbed).end()

    def start(
        self,
        stage: Stage,
        *,
        fault: str | None = None,
        at: int = 0,
        bug: str | None = None,
        now: datetime = NOW,
        **variables: str,
    ) -> "Running":
        """Start a stage, which meets ``fault`` at its write number ``at`` (from 1)."""
        log, plan = self._plan(stage, fault, at, bug)
        environment = self._environment(stage, now, variables)
        process = ForkedProcess(
            run_script, [str(PROGRAM), plan], folder=REPOSITORY, environment=environment, merged=True
        )
        return Running(process, log)

    def run_with_libfiu(self, stage: Stage, at: int) -> Ended:
        """Run a stage whose write number ``at`` fails with EIO: libfiu has to be there when the process is started."""
        log, plan = self._plan(stage, "EIO", at, None)
        done = subprocess.run(
            [sys.executable, str(PROGRAM), plan],
            env={**self._environment(stage, NOW, {}), "PYTHONPATH": os.pathsep.join(sys.path), "LD_PRELOAD": PRELOADED},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS,
        )
        return Ended(done.returncode, done.stdout, *_read(log))

    def until_quiet(self, stage: Stage) -> None:
        """Repeat a stage until it succeeds."""
        for _ in range(REPEATS):
            ended = self.run(stage)
            if ended.status == 0:
                return
        raise AssertionError(f"{stage.name} failed {REPEATS} times: {ended.output[-2000:]}")

    def contents(self, stage: Stage) -> Contents:
        """Every row of the database and of the ledgers, and every file whose content matters, in order."""
        home = self.place / stage.home
        found: Contents = {}
        database = DatabaseFile(home / "bizcharts.duckdb", 30)
        if database.exists():
            with database.read() as connection:
                found |= _tables(connection)
        if stage.copy and (self.place / stage.copy).exists():
            with closing(duckdb.connect(self.place / stage.copy, read_only=True)) as connection:
                found |= {f"copy: {name}": rows for name, rows in _tables(connection).items()}
        for path in sorted((home / "ledgers").glob("*.sqlite")):
            connection = connect(path)
            for name in table_names(connection):
                found[f"{path.stem}: {name}"] = _rows(connection.execute(f'SELECT * FROM "{name}"'))
            connection.close()
        for folder in KEPT_FOLDERS:
            files = [path for path in (home / folder).rglob("*") if path.is_file() and ".tmp-" not in f"{path}"]
            found[f"files of {folder}"] = [
                (("path", f"{path.relative_to(home)}"), ("sha256", hashlib.sha256(path.read_bytes()).hexdigest()))
                for path in files
            ]
        found["releases on GitHub"] = [
            (("release", release["tag_name"]), ("asset", asset["name"]), ("digest", asset["digest"]))
            for release in self.github.releases(RELEASES)
            if not release["draft"]
            for asset in release["assets"]
        ]
        return found

    def _plan(self, stage: Stage, fault: str | None, at: int, bug: str | None) -> tuple[Path, str]:
        self._started += 1
        log = self.folder / f"steps-{self._started}"
        plan = {
            "folder": str(self.place),
            "log": str(log),
            "assets": stage.assets,
            "partitions": stage.partitions,
            "program": stage.program,
            "command": [word.format(place=self.place) for word in stage.command],
            "fault": fault,
            "at": at,
            "bug": bug,
        }
        return log, json.dumps(plan)

    def _environment(self, stage: Stage, now: datetime, variables: dict[str, str]) -> dict[str, str]:
        home = self.place / stage.home
        hosts = self.hosts.environment(home, self.folder / "dagster")
        ours = {name: str(value) for name, value in self.hosts.settings(home).items()}
        return {
            **{name: value for name, value in hosts.items() if not name.startswith("BIZCHARTS_")},
            **{f"BIZCHARTS_{name.upper()}": value for name, value in ours.items()},
            **label_environment(self.apis),
            "BIZCHARTS_AUTO_LABELS__PER_RUN": "5000",  # all of them: a repeated run labels no further ones
            "BIZCHARTS_SETTINGS_FILE": "/dev/null",
            "BIZCHARTS_ENV_FILE": "/dev/null",
            "BIZCHARTS_ALERT_URLS": self.alerts.url(),
            "BIZCHARTS_POD_PROVIDER": "local",
            "BIZCHARTS_VISION__ENDPOINT": self.apis.openai_url,
            "BIZCHARTS_ML__RELEASE__REPOSITORY": RELEASES,
            "BIZCHARTS_ML__RELEASE__API_URL": self.github.url,
            "GITHUB_TOKEN": _TOKEN,
            "BIZCHARTS_NOW": now.isoformat(),
            "OMP_NUM_THREADS": "1",
            **variables,
        }

    def _before(self, stage: Stage) -> Path:
        return self.folder / "before" / stage.name.replace(" ", "-")

    def _reach(self, stage: Stage) -> None:
        """Run the stages up to ``stage`` undisturbed, as far as that has not been done."""
        for earlier in STAGES[: STAGES.index(stage) + 1]:
            if earlier.name in self._after:
                continue
            if self._after:
                self._put_back(self.folder / "after")
            else:
                self._begin()
            shutil.copytree(self.place, self._before(earlier), ignore=shutil.ignore_patterns(LOST))
            self.github.forget()
            ended = self.run(earlier)
            assert ended.status == 0, f"{earlier.name}: {ended.output[-3000:]}"
            self._steps[earlier.name], self._after[earlier.name] = ended.steps, self.contents(earlier)
            shutil.rmtree(self.folder / "after", ignore_errors=True)
            shutil.copytree(self.place, self.folder / "after", ignore=shutil.ignore_patterns(LOST))

    def _put_back(self, state: Path) -> None:
        shutil.rmtree(self.folder / "dagster" / OUTSIDE, ignore_errors=True)  # that there has been a database
        for path in self.place.iterdir():
            if path.name != LOST:
                remove_tree(path)
        shutil.copytree(state, self.place, dirs_exist_ok=True)

    def _begin(self) -> None:
        (self.place / "home").mkdir(parents=True)
        self._make_old_home(self.place / OLD)
        self._make_vision_home(self.place / VISION)
        self._make_sparse_home(self.place / SPARSE)
        (self.folder / "dagster").mkdir()
        shutil.copy(REPOSITORY / "dagster_home" / "dagster.yaml", self.folder / "dagster")
        threads = self.world.threads_between(NOW - timedelta(days=5), NOW - timedelta(hours=1))
        rows = [
            {
                "thread_id": thread.thread_id,
                "sentiment_rating": RATINGS[thread.stance],
                "labeler_id": labeller,
                "labeled_at": (NOW - timedelta(hours=1)).isoformat(),
            }
            for labeller, share in (("ann", 1), ("bob", 3))
            for thread in threads[::share]
        ]
        (self.place / LABELS).write_text("".join(f"{json.dumps(row)}\n" for row in rows))

    def _make_old_home(self, home: Path) -> None:
        """The home of an installation that an earlier version has left, with posts."""
        home.mkdir()
        posts = ", ".join(f"({number}, 'post {number}')" for number in range(1, 500))
        with closing(duckdb.connect(home / "bizcharts.duckdb")) as connection:
            apply(connection, known_migrations()[:OLD_VERSION], START)
            connection.execute(
                "INSERT INTO thread_ops (thread_id, posted_at, text_known_at, ingested_at, source, op_text_clean) "
                f"SELECT id, moment, moment, moment, 'live', text "
                f"FROM (VALUES {posts}) AS posts(id, text), (SELECT TIMESTAMP '{START}' AS moment)"
            )

    def _make_sparse_home(self, home: Path) -> None:
        """The home of an installation whose database has more free space than rows."""
        home.mkdir()
        with DatabaseFile(home / "bizcharts.duckdb", 30).write() as connection:
            connection.execute(
                "INSERT INTO thread_ops (thread_id, posted_at, text_known_at, ingested_at, source, op_text_clean) "
                f"SELECT id, moment, moment, moment, 'live', repeat(sha256(id::VARCHAR), 40) "
                f"FROM range(1, 2001) AS posts(id), (SELECT TIMESTAMP '{START}' AS moment)"
            )
        with DatabaseFile(home / "bizcharts.duckdb", 30).write() as connection:
            connection.execute("DELETE FROM thread_ops WHERE thread_id > 100")

    def _make_vision_home(self, home: Path) -> None:
        """The home of an installation whose champion is a vision model on a server, with posts and their pictures."""
        home.mkdir()
        database = DatabaseFile(home / "bizcharts.duckdb", 30)
        self.apis.openai.adapters.add(make_vision_champion(database, home))
        threads = self.world.threads_between(NOW - timedelta(days=1), NOW)[:VISION_POSTS]
        post(database, {thread.thread_id: html_to_text(thread.html) for thread in threads}, with_picture=True)
        for thread in threads:
            fetch(home, database, thread.thread_id, "stored", picture(thread, "thumbnail"))


def _tables(connection: duckdb.DuckDBPyConnection) -> Contents:
    names = connection.execute("SELECT table_name FROM duckdb_tables() ORDER BY 1").fetchall()
    return {name: _rows(connection.execute(f'SELECT * FROM "{name}"')) for (name,) in names}


def differences(expected: Contents, found: Contents) -> dict[str, list[Any]]:
    """Per table or folder: up to four rows that only one of the two has."""
    told = {}
    for name in sorted({*expected, *found} - NOT_COMPARED):
        one, other = _compared(name, expected), _compared(name, found)
        if one != other:
            missing, new = [row for row in one if row not in other], [row for row in other if row not in one]
            told[name] = [
                len(one),
                len(other),
                *(("missing", row) for row in missing[:2]),
                *(("new", row) for row in new[:2]),
            ]
    return told


def _compared(table: str, contents: Contents) -> list[Row]:
    return sorted(
        tuple((name, value) for name, value in row if not VOLATILE & {name, f"{table}.{name}"})
        for row in contents.get(table, [])
        if not (table == "coin_prices" and SECOND_SOURCE in row)
    )


def _rows(cursor: Any) -> list[Row]:
    names = [column[0] for column in cursor.description]
    return [tuple(zip(names, map(str, row), strict=True)) for row in cursor.fetchall()]
