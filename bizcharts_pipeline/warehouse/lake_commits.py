"""Undoes a commit of a lake whose files DuckLake has deleted.

If the connection breaks before PostgreSQL has answered a COMMIT, DuckLake takes the commit for failed and deletes the
files that it has written. PostgreSQL may have made it all the same: then the catalogue names files that are gone, and
their tables cannot be read. The writer has reported an error, so nothing of the commit is to stay. The next writer
undoes it before it begins, under the writers' lock.

A commit only adds rows of the catalogue and ends others: it is undone by deleting what it has added, and reviving what
it has ended. There is one exception: a data file has at most one file of deletions, so a commit that deletes more of
its rows replaces the entry of that file by one of a new file, which begins at the same snapshot. The old file is kept
for a day, and its entry is made again.

The snapshot itself stays, and changes nothing: its number may have been read. Merging and rewriting files replaces
entries of earlier snapshots, but DuckLake deletes none of the files of such a commit.
"""

from dataclasses import dataclass

import duckdb

from bizcharts_pipeline.core.postgres import PostgresConnection
from bizcharts_pipeline.warehouse.catalogue import ask_all, row
from bizcharts_pipeline.warehouse.errors import DatabaseUnavailable
from bizcharts_pipeline.warehouse.lake_files import Bucket, Folder, place_of
from bizcharts_pipeline.warehouse.values import quoted

# Numbers of files ascend with snapshots, and data files and files of deletions share them.
_NEWEST = """
SELECT newest.snapshot_id, before.next_file_id,
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
_REPLACING = """
SELECT data.path, deletions.data_file_id, deletions.table_id, deletions.begin_snapshot
FROM public.ducklake_delete_file AS deletions JOIN public.ducklake_data_file AS data USING (data_file_id)
WHERE deletions.delete_file_id >= {first_file} AND deletions.begin_snapshot < {snapshot}
"""
_KEPT = """
SELECT data_file_id, path FROM public.ducklake_files_scheduled_for_deletion
WHERE data_file_id < {first_file} AND path_is_relative AND path LIKE '%-delete.parquet'
ORDER BY schedule_start DESC, data_file_id DESC
"""
_DELETED_IN = "_ducklake_internal_snapshot_id"  # column of a file of deletions that several snapshots have made
# The statistics of tables stay, as where rows were added and deleted again.
_OF_FILES = ("ducklake_file_column_stats", "ducklake_file_partition_value", "ducklake_file_variant_stats")
_BEGUN_AND_ENDED = (
    *("ducklake_data_file", "ducklake_delete_file", "ducklake_schema", "ducklake_table", "ducklake_view"),
    *("ducklake_column", "ducklake_tag", "ducklake_column_tag"),
)


@dataclass(frozen=True)
class LostCommit:
    """The newest commit of a lake, whose files are gone.

    Args:
        snapshot: its number.
        first_file: the lowest number of its files.
        replaced: the entries of files of deletions that it has replaced, as SQL values.
    """

    snapshot: int
    first_file: int
    replaced: dict[int, str]


def find_lost_commit(connection: duckdb.DuckDBPyConnection) -> LostCommit | None:
    """Return the lake's newest commit if all files that it has added are gone.

    Args:
        connection: to the lake; it began after this process took the writers' lock.

    Raises:
        duckdb.Error: PostgreSQL or the service of the files does not answer.
        DatabaseUnavailable: the commit cannot be undone.
    """
    found = row(connection, _NEWEST)
    if len(found) == 1:  # the first snapshot, or one that has merged files
        return None
    snapshot, first_file, recorded, files = found
    place = place_of(recorded)
    if not files or any(place.has(connection, name) for name in files.split("|")):
        return None
    return LostCommit(snapshot, first_file, _replaced(connection, place, snapshot, first_file))


def undo(server: PostgresConnection, lost: LostCommit) -> None:
    """Undo a lost commit in the catalogue; the caller has the writers' lock.

    Raises:
        sqlite3.Error: it was not undone.
    """
    added = f"SELECT data_file_id FROM ducklake_data_file WHERE begin_snapshot = {lost.snapshot}"
    steps = [f"DELETE FROM {table} WHERE data_file_id IN ({added})" for table in _OF_FILES]
    steps.append(f"DELETE FROM ducklake_delete_file WHERE delete_file_id >= {lost.first_file}")
    for table in _BEGUN_AND_ENDED:
        steps += [
            f"DELETE FROM {table} WHERE begin_snapshot = {lost.snapshot}",
            f"UPDATE {table} SET end_snapshot = NULL WHERE end_snapshot = {lost.snapshot}",
        ]
    for number, entry in lost.replaced.items():
        steps += [
            f"DELETE FROM ducklake_files_scheduled_for_deletion WHERE data_file_id = {number}",
            "INSERT INTO ducklake_delete_file (delete_file_id, table_id, begin_snapshot, data_file_id, path, "
            "path_is_relative, format, delete_count, partial_max, file_size_bytes, footer_size) "
            f"VALUES ({number}, {entry})",
        ]
    server.run_whole("; ".join(steps))


def _replaced(
    connection: duckdb.DuckDBPyConnection, place: Folder | Bucket, snapshot: int, first_file: int
) -> dict[int, str]:
    """Return, by its number, the entry of each file of deletions that the commit has replaced.

    Raises:
        DatabaseUnavailable: such a file is gone.
    """
    words = {"first_file": first_file, "snapshot": snapshot}
    replacing = {path: entry for path, *entry in ask_all(connection, _REPLACING.format(**words))}
    entries: dict[int, str] = {}
    for number, name in ask_all(connection, _KEPT.format(**words)) if replacing else ():
        if replacing and place.has(connection, name):
            of, *content = _deletions(connection, f"{place}/{name}")
            if of in replacing:  # of several, the last one to be replaced
                data_file, table, begin = replacing.pop(of)
                columns = [table, begin, data_file, quoted(name.rpartition("/")[2]), "true", "'parquet'", *content]
                entries[number] = ", ".join(map(str, columns))
    if replacing:
        raise DatabaseUnavailable(
            f"{place}: files of the lake are lost: what was deleted from {', '.join(replacing)}. Restore a copy of the "
            "lake's files and PostgreSQL's dump (docs/operating.md)."
        )
    return entries


def _deletions(connection: duckdb.DuckDBPyConnection, path: str) -> tuple[str | int, ...]:
    """Return the name of the data file whose rows the file ``path`` deletes, how many, in which snapshot the last ones
    (``NULL``: all in the first), and the bytes of ``path`` and of its footer.
    """
    file = f"read_parquet({quoted(path)})"
    columns = [name for name, *_ in connection.execute(f"FROM {file} LIMIT 0").description or ()]
    newest = f"max({_DELETED_IN})" if _DELETED_IN in columns else "NULL"
    of, count, last, size, footer = connection.execute(
        f"SELECT any_value(parse_filename(file_path)), count(*), {newest}, any_value(file_size_bytes), "
        f"any_value(footer_size) FROM {file}, parquet_file_metadata({quoted(path)})"
    ).fetchall()[0]
    return of, count, "NULL" if last is None else last, size, footer
