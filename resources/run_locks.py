"""Marks runs as failed that Dagster lists as STARTED although their process has died.

Dagster leaves a run STARTED for hours after a power failure, or if all its processes were killed. So each active run
holds a lock on its machine (:mod:`bizcharts_pipeline.core.run_locks`) and, if machines share a lake, one in PostgreSQL
(:mod:`bizcharts_pipeline.core.shared_run_locks`).
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from bizcharts_pipeline.core.run_locks import stale
from bizcharts_pipeline.core.shared_run_locks import is_alive
from resources.warehouse import MACHINE_TAG

YOUNG = timedelta(seconds=20)  # its lock may not exist yet
# So often in a row must the lock in PostgreSQL be free: after a restart of the server, a run needs seconds to take it
# again.
SIGHTINGS = 3
_AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def fail_dead_runs(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Report STARTED (or CANCELING) runs as failed if their process has died; return their ids.

    Locks of ended runs are removed. A run without a lock file is left alone.
    """
    dead = []
    before = datetime.now(UTC) - YOUNG
    for path in stale(folder):
        run = instance.get_run_by_id(path.stem)
        if run is None or run.is_finished:
            path.unlink(missing_ok=True)
            continue
        record = instance.get_run_record_by_id(run.run_id)
        if record is None or record.create_timestamp > before or run.status not in _AT_WORK:
            continue
        instance.report_run_failed(run, "The process of this run has died: it was killed, or the machine lost power.")
        path.unlink(missing_ok=True)
        dead.append(run.run_id)
    return dead


def fail_runs_of_lost_machines(
    instance: dg.DagsterInstance, words: str, sightings: Mapping[str, int]
) -> tuple[list[str], dict[str, int]]:
    """Report runs as failed whose lock in the PostgreSQL database with the connection string ``words`` is free: their
    machine died, or was cut off.

    Args:
        sightings: by run, how often in a row its lock was free.

    Returns:
        The ids of the runs that were reported, and the new sightings.

    Raises:
        sqlite3.OperationalError: the server does not answer.
    """
    dead, found = [], {}
    for run in instance.get_runs(dg.RunsFilter(statuses=list(_AT_WORK))):
        if MACHINE_TAG not in run.tags or is_alive(words, run.run_id):
            continue
        found[run.run_id] = sightings.get(run.run_id, 0) + 1
        if found[run.run_id] < SIGHTINGS:
            continue
        machine = run.tags[MACHINE_TAG]
        instance.report_run_failed(run, f"The machine {machine}, which executed this run, has died or was cut off.")
        dead.append(run.run_id)
        del found[run.run_id]
    return dead, found
