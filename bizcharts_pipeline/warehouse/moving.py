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
    """Result of a copy: number of rows by table."""

    target: str
    rows: Mapping[str, int]

    def __str__(self) -> str:
        what = f"{counted(len(self.rows), 'table')}, {counted(sum(self.rows.values()), 'row')}"
        return f"{what} copied and compared: {self.target}."


def copy_tables(connection: duckdb.DuckDBPyConnection, target: Database, folder: Path) -> Copied:
    """Copy all tables into the new database ``target``, through the empty folder ``folder``.

    Args:
        connection: to the source, from :meth:`Database.held` with the same folder.

    Raises:
        MoveFailed: the copy does not agree; there is no new target.
        DatabaseError: the target exists, or cannot be used.
    """
    wanted = read_contents(connection)
    for name in wanted:
        connection.execute(f"COPY {_quoted(name)} TO {_file(folder, name)} (FORMAT parquet)")
    with target.filled(folder) as new:
        for name in wanted:
            new.execute(f"INSERT INTO {_quoted(name)} FROM read_parquet({_file(folder, name)})")
        _check(wanted, new, target)
    with target.read() as new:  # as it is on the disk
        _check(wanted, new, target)
    return Copied(target.name, {name: table.rows for name, table in wanted.items()})


def _check(wanted: Mapping[str, Contents], connection: duckdb.DuckDBPyConnection, target: Database) -> None:
    found = read_contents(connection)
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise MoveFailed(f"{target.name}: the copy of {', '.join(wrong)} does not agree; it is not used.")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _file(folder: Path, name: str) -> str:
    return quoted(str(folder.resolve() / f"{name}.parquet"))
