"""Marks runs as failed that Dagster lists as STARTED although their process has died.

Dagster leaves a run STARTED for hours after a power failure, or if all its processes were killed. So each active run
holds a lock (:mod:`bizcharts_pipeline.core.run_locks`).
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from bizcharts_pipeline.core.run_locks import stale

YOUNG = timedelta(seconds=20)  # its lock may not exist yet
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
