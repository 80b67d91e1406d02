"""Copies all tables from one database to another: from the file to a lake, and back.

The rows go through Parquet files in a folder. The target is filled in one step, in which its rows are compared with the
source's, so a killed copy leaves no target, or a whole one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.warehouse.contents import Contents, read_contents
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.errors import MoveFailed
from bizcharts_pipeline.warehouse.values import quoted


@dataclass(frozen=True)
class Copied:
    """Result of a copy: number of rows by table. ``was_there``: an earlier one had done it."""

    target: str
    rows: Mapping[str, int]
    was_there: bool

    def __str__(self) -> str:
        what = f"{counted(len(self.rows), 'table')}, {counted(sum(self.rows.values()), 'row')}"
        done = "were there already, and are the same" if self.was_there else "copied and compared"
        return f"{what} {done}: {self.target}."


def copy_tables(connection: duckdb.DuckDBPyConnection, target: Database, folder: Path) -> Copied:
    """Copy all tables into the new database ``target``, through the empty folder ``folder``.

    A target with the same rows is left as it is.

    Args:
        connection: to the source, from :meth:`Database.held` with the same folder.

    Raises:
        MoveFailed: the target holds other rows, or the copy does not agree; there is no new target.
        DatabaseError: the target cannot be used.
    """
    wanted = read_contents(connection)
    rows = {name: table.rows for name, table in wanted.items()}
    if target.exists():
        with target.read() as there:
            found = read_contents(there)
        if found != wanted:
            raise MoveFailed(f"{target.name} holds other rows; name a new database. Nothing was changed.")
        return Copied(target.name, rows, was_there=True)
    for name in wanted:
        connection.execute(f"COPY {_quoted(name)} TO {_file(folder, name)} (FORMAT parquet)")
    with target.filled(folder) as new:
        for name in wanted:
            new.execute(f"INSERT INTO {_quoted(name)} FROM read_parquet({_file(folder, name)})")
        _check(wanted, new, target)
    return Copied(target.name, rows, was_there=False)


def _check(wanted: Mapping[str, Contents], connection: duckdb.DuckDBPyConnection, target: Database) -> None:
    found = read_contents(connection)
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise MoveFailed(f"{target.name}: the copy of {', '.join(wrong)} does not agree; there is no new database.")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _file(folder: Path, name: str) -> str:
    return quoted(str(folder.resolve() / f"{name}.parquet"))
