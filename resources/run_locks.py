"""Marks runs as failed that Dagster lists as STARTED although their process has died.

Dagster leaves a run STARTED for hours after a power failure, or if all its processes were killed. So each active run
holds a lock (:func:`bizcharts_pipeline.core.ledgers.alive`): that of a file or, if machines share a lake, one in
PostgreSQL.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from bizcharts_pipeline.core.ledgers import is_alive, is_shared
from bizcharts_pipeline.core.run_locks import stale
from resources.warehouse import MACHINE_TAG

YOUNG = timedelta(seconds=20)  # its lock may not exist yet
# So often in a row must the lock in PostgreSQL be free: after a restart of the server, a run needs seconds to take it
# again.
SIGHTINGS = 3
_AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def fail_dead_runs(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Report STARTED (or CANCELING) runs as failed if their process, on this machine, has died; return their ids.

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


def fail_lost_runs(
    instance: dg.DagsterInstance, folder: Path, sightings: Mapping[str, int]
) -> tuple[list[str], dict[str, int]]:
    """Report runs as failed that hold their lock in PostgreSQL no longer: their process or machine died, or was cut
    off.

    Args:
        folder: as for :func:`fail_dead_runs`.
        sightings: by run, how often in a row its lock was free.

    Returns:
        The ids of the runs that were reported, and the new sightings.

    Raises:
        sqlite3.Error: the server does not answer.
    """
    if not is_shared(folder):
        return [], {}
    dead, found = [], {}
    for run in instance.get_runs(dg.RunsFilter(statuses=list(_AT_WORK))):
        if MACHINE_TAG not in run.tags or is_alive(folder, run.run_id):
            continue
        found[run.run_id] = sightings.get(run.run_id, 0) + 1
        if found[run.run_id] == SIGHTINGS:
            machine = run.tags[MACHINE_TAG]
            instance.report_run_failed(run, f"The process of this run on {machine}, or that machine, has died.")
            dead.append(run.run_id)
            del found[run.run_id]
    return dead, found
