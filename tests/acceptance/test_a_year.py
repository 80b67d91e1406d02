"""A year in short: what grows with time is measured over days of simulated time, and nothing grows without bound.

The default lengths are parts of a year; ``YEAR_POLL_DAYS=366`` and ``YEAR_RUN_DAYS=366`` are the whole one, for hours.
The figures are printed (``pytest -s``); docs/reliability.md has those of one machine.
"""

import os
import sqlite3
import uuid
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from shutil import copytree
from typing import Any

import pytest
from dagster import DagsterInstance
from installation import Installation

from assets.maintenance import RUNS_KEPT
from bizcharts_pipeline.archive.days import import_day
from bizcharts_pipeline.archive.patience import Archive
from bizcharts_pipeline.board.ingest import poll_catalog
from bizcharts_pipeline.definitions import code_location
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.hosts import simulated_hosts
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.exports.write import export
from bizcharts_pipeline.http.errors import SourceError
from bizcharts_pipeline.live import LivePipeline, bring_indexes_up_to_date
from bizcharts_pipeline.maintenance import maintain
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.settings import load_settings
from resources import run_records
from resources.run_records import delete_old_runs

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(4 * 3600)]

DAY = timedelta(days=1)
FIRST = datetime(2028, 2, 10)  # a leap year; summer time begins in New York on 12 March
POLL_DAYS = int(os.environ.get("YEAR_POLL_DAYS", 35))
POLL_EVERY = timedelta(hours=3)
OUTAGE = (FIRST + 15 * DAY, FIRST + 27 * DAY)  # of the board, across 29 February
RUN_DAYS = int(os.environ.get("YEAR_RUN_DAYS", 4))
RUNS_A_DAY = {
    "live": 1440,
    "fetch_thumbnails": 288,
    "fetch_prices": 288,
    "collect_auto_labels": 96,
    "send_alerts": 10,
    "history": 24,
    "maintenance": 1,
    "export_index": 1,
    "fetch_reference_index": 1,
}
DAGSTER_BYTES = 2_000_000_000
HOUSEKEEPING = timedelta(hours=4, minutes=43)


def bytes_of(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def files_by_folder(home: Path) -> Counter[str]:
    """The number of files in each folder of the home, but those that hold a picture or a lock each."""
    return Counter(str(path.parent.relative_to(home)) for path in home.rglob("*") if path.is_file())


def test_polls_over_month_ends_a_leap_day_a_change_to_summer_time_and_an_outage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = World(28, FIRST - 5 * DAY, POLL_DAYS + 10)
    home = tmp_path / "home"
    sizes: list[int] = []
    files: list[int] = []
    with simulated_hosts(world, FIRST) as hosts:
        settings = load_settings(**hosts.settings(home))
        hosts.board.outages = [OUTAGE]
        server = hosts.archive
        archive = Archive(
            home=home, board="biz", url=server.url, image_url=server.image_url, seconds_per_request=0, contact=""
        )
        pipeline = LivePipeline.from_settings(settings)
        missed = 0
        for day in range(POLL_DAYS):
            midnight = FIRST + day * DAY
            for step in range(DAY // POLL_EVERY):
                now = midnight + step * POLL_EVERY
                hosts.move_to(now)
                monkeypatch.setenv("BIZCHARTS_NOW", now.isoformat())
                try:
                    poll_catalog(pipeline.client, pipeline.spool, pipeline.database, now)
                except SourceError:
                    missed += 1
            pipeline = LivePipeline.from_settings(settings)
            import_day(archive, pipeline.database, (midnight - DAY).date(), now)
            scorer = champion_scorer(pipeline.database, pipeline.place, now)
            score_new_posts(pipeline.database, scorer, limit=None, now=now)
            whole = day % 7 == 0 or day == POLL_DAYS - 1
            bring_indexes_up_to_date(pipeline.database, scorer, now, pipeline.parameters, everything=whole)
            if whole:
                export(pipeline.database, home / "exports", settings.fear_greed, now)
            maintain(pipeline.database, home, settings.retention, now)
            sizes.append(bytes_of(home))
            files.append(sum(files_by_folder(home).values()))
        truth = {
            number for day in range(POLL_DAYS - 1) for number in hosts.archive.ops_of_day((FIRST + day * DAY).date())
        }
        with pipeline.database.read() as connection:
            stored = {row[0] for row in connection.execute("SELECT thread_id FROM thread_ops").fetchall()}
            days = dict(connection.execute("SELECT day, complete FROM warosu_days").fetchall())
            hours = "SELECT count(DISTINCT bucket_start) FROM fear_greed_index WHERE bucket = 'hour' AND final"
            (index_hours,) = connection.execute(hours).fetchone() or (0,)
            rows = connection.execute(
                "SELECT table_name, estimated_size FROM duckdb_tables() WHERE estimated_size > 0 ORDER BY 2 DESC"
            ).fetchall()
    third = POLL_DAYS // 3
    a_day = (sizes[-1] - sizes[-1 - third]) / third
    print(
        f"\n{POLL_DAYS} days, {POLL_DAYS * (DAY // POLL_EVERY)} polls, {missed} missed: home {sizes[-1] / 1e6:.1f} MB,"
    )
    print(f"{a_day / 1e6:.2f} MB a day in the last third, files {files[third]} -> {files[-1]}; rows {rows}")
    print(f"by folder: {dict(files_by_folder(home))}")
    assert missed == (min(OUTAGE[1], FIRST + POLL_DAYS * DAY) - OUTAGE[0]) // POLL_EVERY
    assert truth <= stored  # also those of the outage
    assert all(days.values())
    assert len(days) == POLL_DAYS
    assert index_hours >= (POLL_DAYS - 1) * 24 - 1
    assert not list((home / "spool").glob("*.gz"))
    assert not list((home / "spool" / "warosu").glob("*/*"))
    assert not list((home / "attempts").glob("*"))
    assert files[-1] <= files[third] + 2
    assert sizes[-1] + a_day * 365 < 2e9


class Clock(datetime):
    """The clock of the deletion of runs."""

    simulated = datetime.now(UTC)

    @classmethod
    def now(cls, tz: Any = None) -> datetime:  # type: ignore[override]
        return cls.simulated


class History:
    """Dagster's storage of one instance, into which copies of one real run are written as of other times."""

    TABLES = ("event_logs", "asset_event_tags", "asset_check_executions")

    def __init__(self, folder: Path, template: Path, run_id: str, began: datetime) -> None:
        self.folder, self.run_id, self.began = folder, run_id, began
        self.shard = (template / "history" / "runs" / f"{run_id}.db").read_bytes()
        self.logs = template / "storage" / run_id
        with closing(sqlite3.connect(template / "history" / "runs.db")) as runs:
            runs.row_factory = sqlite3.Row
            self.run = dict(runs.execute("SELECT * FROM runs WHERE run_id = ?", (run_id,)).fetchone())
            self.tags = [dict(row) for row in runs.execute("SELECT * FROM run_tags WHERE run_id = ?", (run_id,))]
        with closing(sqlite3.connect(template / "history" / "runs" / "index.db")) as index:
            index.row_factory = sqlite3.Row
            self.events = [dict(row) for row in index.execute("SELECT * FROM event_logs WHERE run_id = ?", (run_id,))]
            self.event_tags = [dict(row) for row in index.execute("SELECT * FROM asset_event_tags")]
            self.checks = [
                dict(row) for row in index.execute("SELECT * FROM asset_check_executions WHERE run_id = ?", (run_id,))
            ]

    def write_day(self, day: datetime, jobs: dict[str, int]) -> int:
        """Write the runs of one day (UTC); return their number."""
        count = 0
        history = self.folder / "history"
        with (
            closing(sqlite3.connect(history / "runs.db", isolation_level=None)) as runs,
            closing(sqlite3.connect(history / "runs" / "index.db", isolation_level=None)) as index,
        ):
            runs.execute("BEGIN")
            index.execute("BEGIN")
            for job, a_day in jobs.items():
                for number in range(a_day):
                    self._write(runs, index, job, day + DAY * number / a_day)
                    count += 1
            runs.execute("COMMIT")
            index.execute("COMMIT")
        return count

    def _write(self, runs: sqlite3.Connection, index: sqlite3.Connection, job: str, at: datetime) -> None:
        run_id, later = str(uuid.uuid4()), at - self.began

        def moved(row: dict[str, Any]) -> dict[str, Any]:
            made = {}
            for name, value in row.items():
                if isinstance(value, str) and self.run_id in value:
                    value = value.replace(self.run_id, run_id)
                elif isinstance(value, str) and name.endswith("timestamp"):
                    value = str(datetime.fromisoformat(value) + later)
                elif isinstance(value, float) and name.endswith(("timestamp", "_time")):
                    value += later.total_seconds()
                made[name] = value
            made.pop("id")
            return made

        run = moved(self.run)
        run["run_body"] = run["run_body"].replace('"live"', f'"{job}"')
        _insert(runs, "runs", {**run, "pipeline_name": job})
        for tag in self.tags:
            _insert(runs, "run_tags", moved(tag))
        for event in self.events:
            new = _insert(index, "event_logs", moved(event))
            for tag in self.event_tags:
                if tag["event_id"] == event["id"]:
                    _insert(index, "asset_event_tags", {**moved(tag), "event_id": new})
        for check in self.checks:
            _insert(index, "asset_check_executions", moved(check))
        path = self.folder / "history" / "runs" / f"{run_id}.db"
        path.write_bytes(self.shard.replace(self.run_id.encode(), run_id.encode()))
        if self.logs.exists():
            copytree(self.logs, self.folder / "storage" / run_id)


def _insert(connection: sqlite3.Connection, table: str, row: dict[str, Any]) -> int:
    names, marks = ", ".join(f'"{name}"' for name in row), ", ".join("?" for _ in row)
    inserted = connection.execute(f"INSERT INTO {table} ({names}) VALUES ({marks})", tuple(row.values())).lastrowid
    assert inserted is not None
    return inserted


def test_dagsters_history_of_minutely_runs_stays_small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Copies of one real run of the job `live`, at the rate of the schedules, and the deletion that is part of
    `maintenance` each day at its hour."""
    start = datetime(2026, 3, 2, 12, 0)
    world = World(7, start - 2 * DAY, 3)
    with SimulatedBoard(world, now=start) as board:
        installation = Installation(tmp_path, board.url)
        for name, value in installation.environment(start).items():
            monkeypatch.setenv(name, value)
        job = code_location(load_settings()).resolve_job_def("live")
        with DagsterInstance.get() as instance:
            done = job.execute_in_process(instance=instance)
            assert done.success
            (record,) = instance.get_run_records()
    home = installation.dagster_home
    history = History(home, copytree(home, tmp_path / "template"), done.run_id, record.create_timestamp)
    one_run = len(history.shard) + bytes_of(history.logs)
    begin = record.create_timestamp.replace(hour=0, minute=0, second=0, microsecond=0) + DAY
    monkeypatch.setattr(run_records, "datetime", Clock)
    peaks: list[int] = []
    index_bytes: list[int] = []
    written = deleted = 0
    with DagsterInstance.get() as instance:
        for day in range(RUN_DAYS):
            written += history.write_day(begin + day * DAY, RUNS_A_DAY)
            peaks.append(bytes_of(home))
            at_peak = instance.get_runs_count()
            index_bytes.append((home / "history" / "runs" / "index.db").stat().st_size)
            Clock.simulated = begin + (day + 1) * DAY + HOUSEKEEPING
            deleted += sum(delete_old_runs(instance, name, kept)[0] for name, kept in RUNS_KEPT.items())
        left = instance.get_runs_count()
        counts = {name: instance.get_runs_count(_of_job(name)) for name in RUNS_A_DAY}
    with closing(sqlite3.connect(home / "history" / "runs" / "index.db")) as index:
        stray = {table: index.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in History.TABLES}
    assert written + 1 - deleted == left
    assert len(list((home / "history" / "runs").glob("*-*.db"))) == left
    # For each run that is left there are as many rows as the template has: nothing of deleted runs is left behind.
    assert stray["event_logs"] == left * len(history.events)
    assert stray["asset_check_executions"] == left * len(history.checks)
    assert stray["asset_event_tags"] == left * len(history.event_tags)
    kept_days = {name: kept / DAY + 1 + HOUSEKEEPING / DAY for name, kept in RUNS_KEPT.items()}
    steady = sum(RUNS_A_DAY[name] * days for name, days in kept_days.items())
    per_run = peaks[-1] / at_peak
    print(
        f"\n{RUN_DAYS} days, {written:,} runs of {one_run / 1e3:.0f} kB; peaks {[f'{p / 1e6:.0f} MB' for p in peaks]}"
    )
    print(f"index.db {[f'{b / 1e6:.1f} MB' for b in index_bytes]}; left {left:,} {counts}")
    print(f"steady state: {steady:,.0f} runs of {per_run / 1e3:.0f} kB = {steady * per_run / 1e9:.2f} GB")
    assert steady * per_run < DAGSTER_BYTES


def _of_job(name: str) -> Any:
    import dagster as dg

    return dg.RunsFilter(job_name=name)
