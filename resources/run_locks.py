"""Runs that Dagster takes for STARTED although their process is gone.

Dagster leaves a run STARTED for hours when its machine lost power or its process was killed with all others. So each
run holds a lock (:mod:`bizcharts_pipeline.core.run_locks`) while it is at work.
"""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg

from bizcharts_pipeline.core.run_locks import stale

YOUNG = timedelta(seconds=20)  # its lock may not be there yet
_AT_WORK = (dg.DagsterRunStatus.STARTED, dg.DagsterRunStatus.CANCELING)


def fail_dead_runs(instance: dg.DagsterInstance, folder: Path) -> list[str]:
    """Report the runs as failed that are STARTED (or CANCELING) and whose process is gone; return their ids.

    Locks of runs that have ended are removed. A run without a lock file is left alone.
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
        instance.report_run_failed(run, "The process of this run is gone: it was killed, or the machine lost power.")
        path.unlink(missing_ok=True)
        dead.append(run.run_id)
    return dead
