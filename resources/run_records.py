"""Deletion of old runs in Dagster's storage, as nothing else deletes the runs of a minutely job."""

import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import dagster as dg
from dagster._core.storage.event_log import SqlEventLogStorage
from sqlalchemy import bindparam, text

_BATCH = 500


def delete_old_runs(instance: dg.DagsterInstance, job_name: str, older_than: timedelta) -> tuple[int, int]:
    """Delete the finished runs of one job that are older than ``older_than``, with their files.

    ``delete_run`` leaves most of a run's data: its own event-log file, its log folder, and the results of its asset
    checks. This deletes them too. The newest run is always kept, so that the assets do not appear as never
    materialised.

    Returns:
        The number of deleted runs and the bytes of the files removed.
    """
    finished = [dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED]
    newest = instance.get_run_records(dg.RunsFilter(job_name=job_name, statuses=finished[:1]), limit=1)
    kept = {record.dagster_run.run_id for record in newest}
    before = datetime.now(UTC) - older_than
    runs, freed = 0, 0
    while True:
        records = instance.get_run_records(
            dg.RunsFilter(job_name=job_name, statuses=finished, created_before=before), limit=_BATCH
        )
        run_ids = [record.dagster_run.run_id for record in records if record.dagster_run.run_id not in kept]
        if not run_ids:
            return runs, freed
        for run_id in run_ids:
            instance.delete_run(run_id)
            freed += _remove_files(instance, run_id)
        _delete_check_results(instance, run_ids)
        runs += len(run_ids)


def _delete_check_results(instance: dg.DagsterInstance, run_ids: list[str]) -> None:
    storage = instance.event_log_storage
    if isinstance(storage, SqlEventLogStorage):
        statement = text("DELETE FROM asset_check_executions WHERE run_id IN :runs")
        with storage.index_connection() as connection:
            connection.execute(statement.bindparams(bindparam("runs", run_ids, expanding=True)))


def _remove_files(instance: dg.DagsterInstance, run_id: str) -> int:
    freed = 0
    root = Path(instance.root_directory)
    for path in (root / "history" / "runs").glob(f"{run_id}.db*"):
        freed += path.stat().st_size
        path.unlink(missing_ok=True)
    logs = root / "storage" / run_id
    if logs.is_dir():
        freed += sum(path.stat().st_size for path in logs.rglob("*") if path.is_file())
        shutil.rmtree(logs, ignore_errors=True)
    return freed
