"""Undoes a commit of a lake whose files DuckLake has deleted.

If the connection breaks before PostgreSQL has answered a COMMIT, DuckLake takes the commit for failed and deletes the
files that it has written. PostgreSQL may have made it all the same: then the catalogue names files that are gone, and
their tables cannot be read. The writer has reported an error, so nothing of the commit is to stay. The next writer
undoes it before it begins, under the writers' lock.

A commit only adds rows of the catalogue and ends others: it is undone by deleting what it has added, and reviving what
it has ended. The snapshot itself stays, and changes nothing: its number may have been read. Merging and rewriting files
replaces entries of earlier snapshots, but DuckLake deletes none of the files of such a commit.
"""

import duckdb

from bizcharts_pipeline.core.postgres import PostgresConnection
from bizcharts_pipeline.warehouse.catalogue import row
from bizcharts_pipeline.warehouse.lake_files import place_of

# Numbers of files ascend with snapshots, and data files and files of deletions share them.
_NEWEST = """
SELECT newest.snapshot_id,
       (SELECT value FROM public.ducklake_metadata WHERE key = 'data_path' AND scope IS NULL) AS place,
       (SELECT string_agg(DISTINCT s.path || t.path || file.path, '|')
        FROM (SELECT table_id, data_file_id AS id, path FROM public.ducklake_data_file
              UNION ALL SELECT table_id, delete_file_id, path FROM public.ducklake_delete_file) AS file
        JOIN public.ducklake_table AS t USING (table_id) JOIN public.ducklake_schema AS s USING (schema_id)
        WHERE file.id >= before.next_file_id) AS files
FROM (SELECT * FROM public.ducklake_snapshot ORDER BY snapshot_id DESC LIMIT 1) AS newest
CROSS JOIN (SELECT * FROM public.ducklake_snapshot ORDER BY snapshot_id DESC OFFSET 1 LIMIT 1) AS before
JOIN public.ducklake_snapshot_changes AS changes ON changes.snapshot_id = newest.snapshot_id
WHERE changes_made !~ 'merge_adjacent|rewrite_delete'
"""
# The statistics of tables stay, as where rows were added and deleted again.
_OF_FILES = ("ducklake_file_column_stats", "ducklake_file_partition_value", "ducklake_file_variant_stats")
_BEGUN_AND_ENDED = (
    *("ducklake_data_file", "ducklake_delete_file", "ducklake_schema", "ducklake_table", "ducklake_view"),
    *("ducklake_column", "ducklake_tag", "ducklake_column_tag"),
)


def find_lost_commit(connection: duckdb.DuckDBPyConnection) -> int | None:
    """Return the lake's newest snapshot if all files that it has added are gone.

    Args:
        connection: to the lake; it began after this process took the writers' lock.

    Raises:
        duckdb.Error: PostgreSQL or the service of the files does not answer.
    """
    found = row(connection, _NEWEST)
    if len(found) == 1:  # the first snapshot, or one that has merged files
        return None
    snapshot, place, files = found
    if not files or any(place_of(place).has(connection, name) for name in files.split("|")):
        return None
    return int(snapshot)


def undo(server: PostgresConnection, snapshot: int) -> None:
    """Undo the commit of ``snapshot`` in the catalogue; the caller has the writers' lock.

    Raises:
        sqlite3.Error: it was not undone.
    """
    added = f"SELECT data_file_id FROM ducklake_data_file WHERE begin_snapshot = {snapshot}"
    steps = [f"DELETE FROM {table} WHERE data_file_id IN ({added})" for table in _OF_FILES]
    for table in _BEGUN_AND_ENDED:
        steps += [
            f"DELETE FROM {table} WHERE begin_snapshot = {snapshot}",
            f"UPDATE {table} SET end_snapshot = NULL WHERE end_snapshot = {snapshot}",
        ]
    server.run_whole("; ".join(steps))
