"""Moves all tables from one database to another: from the file to a lake, and back.

The rows go through Parquet files in a folder. The target is filled in one step, in which its rows are compared with the
source's, so a killed move leaves no target, or a whole one. The source is only read.
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
class Moved:
    """Result of a move: number of rows by table. ``was_there``: an earlier move had done it."""

    source: str
    target: str
    rows: Mapping[str, int]
    was_there: bool

    def __str__(self) -> str:
        what = f"{counted(len(self.rows), 'table')}, {counted(sum(self.rows.values()), 'row')}"
        done = "were there already, and are the same" if self.was_there else "copied and compared"
        return (
            f"{what} {done}: {self.target}. Set BIZCHARTS_DATABASE to it: {self.source} stays as it is, and no command "
            "uses it any more."
        )


def move(source: Database, target: Database, folder: Path) -> Moved:
    """Copy all tables of ``source`` into the new database ``target``, through the empty folder ``folder``.

    A target with the same rows is left as it is.

    Raises:
        MoveFailed: the target is the source or holds other rows, the copy does not agree, or the source was written to
            meanwhile; there is no new target.
        DatabaseError: one of the two cannot be used.
    """
    if source.name == target.name:
        raise MoveFailed(f"{target.name} is the database itself; name another one.")
    if target.exists():
        return _compared(source, target)
    with source.read(copy_to=folder) as connection:
        before, wanted = source.stamp(), read_contents(connection)
        for name in wanted:
            connection.execute(f"COPY {_quoted(name)} TO {_file(folder, name)} (FORMAT parquet)")
    with target.filled(folder) as connection:
        for name in wanted:
            connection.execute(f"INSERT INTO {_quoted(name)} FROM read_parquet({_file(folder, name)})")
        _check(wanted, connection, target)
        if source.stamp() != before:
            raise MoveFailed(f"{source.name} was written to meanwhile; stop the service, and try again.")
    return Moved(source.name, target.name, {name: table.rows for name, table in wanted.items()}, was_there=False)


def _compared(source: Database, target: Database) -> Moved:
    with source.read() as connection:
        wanted = read_contents(connection)
    with target.read() as connection:
        found = read_contents(connection)
    if found != wanted:
        raise MoveFailed(
            f"{target.name} holds other rows than {source.name}; name a new database. Nothing was changed."
        )
    return Moved(source.name, target.name, {name: table.rows for name, table in wanted.items()}, was_there=True)


def _check(wanted: Mapping[str, Contents], connection: duckdb.DuckDBPyConnection, target: Database) -> None:
    found = read_contents(connection)
    if wrong := sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name)):
        raise MoveFailed(f"{target.name}: the copy of {', '.join(wrong)} does not agree; there is no new database.")


def _quoted(name: str) -> str:
    return f'"{name}"'


def _file(folder: Path, name: str) -> str:
    return quoted(str(folder.resolve() / f"{name}.parquet"))
