"""One stage as a process of its own that suffers a fault at one of its writes: ``disturbed.py PLAN``, a JSON object.

Every write below the plan's folder is a step: a statement of DuckDB or SQLite that changes something, each begin and
commit, and each call that opens a file to write it, renames, links, removes or flushes one. The steps are appended to
the plan's log as they are reached, so that the log of an undisturbed run says where a fault can happen.
"""

import ctypes
import errno
import json
import os
import random
import re
import signal
import sqlite3
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import duckdb

FIRED = "FIRED"
BALLAST = "ballast"
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT
CHANGES = ("ALTER", "BEGIN", "CHECKPOINT", "COMMIT", "CREATE", "DELETE", "DROP", "INSERT", "MERGE", "UPDATE")
COMMENTS = re.compile(r"(?:\s|--[^\n]*\n)*")  # before a statement
FILE_EVENTS = ("os.rename", "os.remove", "os.link", "os.mkdir", "os.rmdir", "os.truncate")
IO_POINTS = ("posix/io/rw/write", "posix/io/rw/pwrite", "posix/io/sync/fsync", "posix/io/sync/fdatasync")
ONCE = 1  # libfiu's FIU_ONETIME


class Steps:
    """Counts the writes of this process and lets one of them meet the fault."""

    def __init__(self, folder: Path, log: Path, fault: str | None, at: int) -> None:
        self.folder, self.fault, self.at = str(folder), fault, at
        self.log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self.count = 0
        self.lock = threading.RLock()
        self.inside = False

    def step(self, what: str) -> None:
        """Note a write that is about to be made; at the plan's one, suffer the fault."""
        with self.lock:
            if self.inside:
                return
            self.inside = True
            try:
                self.count += 1
                os.write(self.log, f"{' '.join(what.split())[:150]}\n".encode())
                if self.count == self.at and self.fault in FAULTS:
                    self.fired(what)
                    FAULTS[self.fault](self)
            finally:
                self.inside = False

    def fired(self, what: str) -> None:
        os.write(self.log, f"{FIRED} {what}\n".encode())

    def is_ours(self, path: object) -> bool:
        try:
            return os.fsdecode(os.path.abspath(path)).startswith(self.folder)  # type: ignore[call-overload]
        except (TypeError, ValueError):
            return False

    def audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Hook of :func:`sys.addaudithook`: files are opened, renamed, linked and removed through Python."""
        if event == "open":
            path, _, flags = arguments
            if isinstance(flags, int) and flags & WRITING and not isinstance(path, int) and self.is_ours(path):
                self.step(f"open {path}")
        elif event in FILE_EVENTS and self.is_ours(arguments[0]):
            self.step(f"{event} {arguments[0]}")


class Killed(BaseException):
    """The end of a pretended process: nobody catches it."""


def pretend_to_kill(steps: Steps) -> None:
    raise Killed


def kill(steps: Steps) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def stop(steps: Steps) -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def fill_the_disk(steps: Steps) -> None:
    with open(Path(steps.folder) / BALLAST, "wb", buffering=0) as ballast:
        try:
            while True:
                ballast.write(bytes(4096))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise


def fail_input_output(steps: Steps) -> None:
    """The next write and the next flush of each kind fails with EIO, whoever makes it."""
    fiu = ctypes.CDLL("libfiu.so.0")
    fiu.fiu_init(0)
    fiu.fiu_enable.argtypes = [ctypes.c_char_p, ctypes.c_int, ctypes.c_void_p, ctypes.c_uint]
    for name in IO_POINTS:
        if fiu.fiu_enable(name.encode(), -1, errno.EIO, ONCE):
            raise RuntimeError(f"libfiu does not know {name}")


FAULTS: dict[str | None, Callable[[Steps], None]] = {
    "SIGKILL": kill,
    "power cut": kill,  # what was not flushed is lost afterwards, by whoever started this process
    "SIGSTOP": stop,
    "ENOSPC": fill_the_disk,
    "EIO": fail_input_output,
    "pretended kill": pretend_to_kill,
}


def watch_statements(steps: Steps, replace: Callable[[Any, str, Any], None] = setattr) -> None:
    """Make every statement that writes, and every flush of a file, a step; ``replace`` puts the wrappers in place."""
    from bizcharts_pipeline.core import sqlite as ledgers

    def noted(owner: Any, name: str, changes: Callable[..., str | None], torn: Callable[..., Path | None]) -> None:
        original = getattr(owner, name)

        def call(self: Any, *arguments: Any, **more: Any) -> Any:
            what = changes(*arguments)
            if what is None:
                return original(self, *arguments, **more)
            steps.step(what)
            if steps.fault != "torn log" or steps.count < steps.at:
                return original(self, *arguments, **more)
            return tear(steps, what, torn(self), lambda: original(self, *arguments, **more))

        replace(owner, name, call)

    for name in ("execute", "executemany"):
        noted(duckdb.DuckDBPyConnection, name, _statement("duckdb"), _duckdb_log)
        noted(ledgers.SqliteConnection, name, _statement("sqlite"), _sqlite_log)
    noted(ledgers.SqliteConnection, "commit", lambda: "sqlite COMMIT", _sqlite_log)
    for name in ("begin", "commit"):
        noted(duckdb.DuckDBPyConnection, name, lambda name=name: f"duckdb {name.upper()}", _duckdb_log)
    fsync = os.fsync

    def flush(descriptor: int) -> None:
        if steps.is_ours(path := os.readlink(f"/proc/self/fd/{descriptor}")):
            steps.step(f"fsync {path}")
        fsync(descriptor)

    replace(os, "fsync", flush)


def _statement(engine: str) -> Callable[..., str | None]:
    def changes(sql: object = "", *_: object) -> str | None:
        text = COMMENTS.sub("", str(sql), count=1)
        return f"{engine} {text}" if text[:12].upper().startswith(CHANGES) else None

    return changes


def _duckdb_log(connection: duckdb.DuckDBPyConnection) -> Path | None:
    files = connection.sql("SELECT path FROM duckdb_databases() WHERE path IS NOT NULL").fetchall()
    return Path(f"{files[0][0]}.wal") if files else None


def _sqlite_log(connection: sqlite3.Connection) -> Path | None:
    return Path(f"{sqlite3.Connection.execute(connection, 'PRAGMA database_list').fetchone()[2]}-wal")


def tear(steps: Steps, what: str, log: Path | None, commit: Callable[[], Any]) -> Any:
    """Commit, cut the log somewhere within what the commit has appended to it, and die before anybody is told."""
    before = log.stat().st_size if log and log.exists() else 0
    result = commit()
    if log and log.exists() and (after := log.stat().st_size) > before:
        steps.fired(what)
        os.truncate(log, random.Random(steps.at).randrange(before, after))
        os.kill(os.getpid(), signal.SIGKILL)
    return result  # this statement wrote no log; the next one may


def plant(bug: str | None, steps: Steps) -> None:
    """Break the program on purpose, to see whether anybody notices."""
    if bug == "statements are committed one by one":
        duckdb.DuckDBPyConnection.begin = lambda self: self
        duckdb.DuckDBPyConnection.commit = lambda self: self
        duckdb.DuckDBPyConnection.rollback = lambda self: self
    elif bug == "files are not flushed":
        os.fsync = lambda descriptor: None
    elif bug == "files are written in place":
        from bizcharts_pipeline.core import files

        def in_place(path: Path, content: bytes) -> None:
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb", buffering=0) as file:
                file.write(content[: len(content) // 2])
                steps.step(f"half of {path}")
                file.write(content[len(content) // 2 :])

        original = files.write_atomically
        for module in [module for name, module in sys.modules.items() if name.startswith("bizcharts_pipeline.")]:
            if getattr(module, "write_atomically", None) is original:
                module.write_atomically = in_place  # type: ignore[attr-defined]
    elif bug is not None:
        raise ValueError(bug)


def materialise(assets: list[str], partitions: list[str]) -> bool:
    """Materialise assets in one Dagster run, as their jobs do; return whether it succeeded."""
    import dagster as dg

    from bizcharts_pipeline.definitions import code_location
    from bizcharts_pipeline.settings import load_settings
    from resources.console_log import CONSOLE

    job = dg.define_asset_job("stage", selection=dg.AssetSelection.assets(*assets))
    merged = dg.Definitions.merge(code_location(load_settings()), dg.Definitions(jobs=[job]))
    first_and_last = ("dagster/asset_partition_range_start", "dagster/asset_partition_range_end")
    days = dict(zip(first_and_last, partitions, strict=True)) if partitions else {}
    with dg.DagsterInstance.get() as instance:
        result = merged.resolve_job_def("stage").execute_in_process(
            instance=instance, run_config=CONSOLE, tags=days, raise_on_error=False
        )
    return result.success


def main() -> None:
    plan = json.loads(sys.argv[1])
    steps = Steps(Path(plan["folder"]), Path(plan["log"]), plan["fault"], plan["at"])
    import bizcharts_pipeline.definitions  # noqa: F401  # so that nothing planted is imported again

    plant(plan["bug"], steps)
    watch_statements(steps)
    sys.addaudithook(steps.audit)  # there is no way to take it away again
    if plan["assets"]:
        sys.exit(0 if materialise(plan["assets"], plan["partitions"]) else 1)
    if plan["program"]:
        from faults import programs

        getattr(programs, plan["program"])()
        return
    from bizcharts_pipeline.cli.start import main as bizcharts

    sys.argv = ["bizcharts", *plan["command"]]
    bizcharts()


if __name__ == "__main__":
    main()
