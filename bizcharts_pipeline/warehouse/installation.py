"""Marks of an installation: distinguish a first start from a lost database.

A missing database looks the same on the first day and when its disk is not mounted. So an installation marks, inside
and outside its home, that it has had a database. The outside mark is in ``DAGSTER_HOME``, which does not disappear with
an unmounted home. Installations older than the marks are recognized by other files in the home.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core import moved
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.files import is_special, read_regular, write_atomically
from bizcharts_pipeline.core.private import check_owner, tighten
from bizcharts_pipeline.settings import LAKE, MOTHERDUCK, REPOSITORY_ROOT, Settings
from bizcharts_pipeline.warehouse.errors import DatabaseLost, DatabaseUnavailable
from bizcharts_pipeline.warehouse.swap import journal

DATABASE = "bizcharts.duckdb"  # in the home, if the settings name no other file
# Suffixes of the files that go with it.
BESIDE_DATABASE = (".wal", ".lock", ".turn", ".checkpoint", ".closed", ".changed")
MARK = "installation.json"  # in the home: the installation has had a database
LAKE_MARK = "lake.json"  # in the home: the installation has had a lake
FIRST_START = "installation.new"  # in the home: the first database is being created
OUTSIDE = "installations"  # folder in DAGSTER_HOME, one file per home
_REMEDY = (
    "If its disk is not mounted, mount it; correct BIZCHARTS_HOME or BIZCHARTS_DATABASE if one is wrong; "
    "`bizcharts restore FILE` restores a backup; `bizcharts init --new` starts with an empty database."
)
FOLDERS = ("ledgers", "known-ledgers", "spool", "models", "images", "datasets", "pods", "staged", "runs", "http")
_TIGHTENED: set["Installation"] = set()
_TIGHTENED_DATABASES: set[Path] = set()
# Files found only in the home of an installation that had a database.
_LEFTOVERS = (
    "ledgers/labels.sqlite",
    "ledgers/auto_labels.sqlite",
    "models/*",
    "images/*",
    "datasets/*",
    "spool/*.poll.gz",
    "spool/warosu/*",
)


@dataclass(frozen=True)
class Installation:
    """One installation: its ``home`` and the DuckDB file ``database``, both absolute; ``None``: its database is no
    file."""

    home: Path
    database: Path | None

    @classmethod
    def of(cls, settings: Settings) -> "Installation":
        """Return the installation described by ``settings``."""
        is_file = not settings.database_name.startswith((LAKE, MOTHERDUCK))
        return cls(settings.home_path, Path(settings.database_name) if is_file else None)

    def check(self) -> None:
        """Check that the installation's database exists or that this is a first start.

        Raises:
            DatabaseUnavailable: the database was moved to another one; a file is in the place of the home or of a
                folder above it; or the folder of the home does not exist.
            DatabaseCorrupt: another file than a database is in its place.
            DatabaseLost: the database is missing or empty, and the installation has had one.
            ForeignHome: the home belongs to another user, and this one has no access.
        """
        folders = (self.home, *self.home.parents, *(self.database.parents if self.database else ()))
        if blocked := next((path for path in folders if os.path.isfile(path)), None):
            raise DatabaseUnavailable(
                f"{self.database or self.home}: there is no database ({blocked} is not a folder). Correct "
                "BIZCHARTS_HOME or BIZCHARTS_DATABASE."
            )
        if not self.home.parent.is_dir():  # a typing error, most likely
            raise DatabaseUnavailable(
                f"{self.database or self.home}: there is no database (the folder {self.home.parent} does not exist). "
                "Correct BIZCHARTS_HOME, or create the folder."
            )
        if not os.access(self.home, os.R_OK | os.X_OK):
            check_owner(self.home)
        if self.database is None or journal(self.database).exists():
            return  # a restore was interrupted: the next process to open the database finishes it
        if moved_away := moved.refusal(self.database):
            raise DatabaseUnavailable(moved_away)
        if is_missing(self.database) and (evidence := self._evidence()):
            state = "is empty" if self.database.exists() else "is missing"
            raise DatabaseLost(
                f"{self.database}: the database {state}, but this installation has had one ({evidence}). {_REMEDY}"
            )

    def has_lost_database(self) -> bool:
        """Whether the database is missing or empty, although the installation has had one."""
        return self._lacks_file() and self._evidence() is not None

    def has_existed(self) -> bool:
        """Whether the installation has a database, or has had one."""
        return not self._lacks_file() or self._evidence() is not None

    def begin(self) -> None:
        """Prepare the installation's first start if there is no database; files put into the home from now on are no
        evidence of an earlier one. If there is one, mark that.

        Raises:
            DatabaseLost: as :meth:`check`.
            ForeignHome: the home belongs to another user.
        """
        check_owner(self.home)
        self.check()
        self.tighten()
        if self.database is None:
            return
        if not self._lacks_file():
            self.confirm()
        elif not (self.home / FIRST_START).exists():
            with suppress(OSError):  # creating the database will report the fault of the folder
                write_atomically(self.home / FIRST_START, b"The first database of this installation is being made.\n")

    def tighten(self) -> None:
        """Remove other users' access to the installation's home, left by an older version or a copy; once per process.

        A folder that is not known as a home is left alone: ``BIZCHARTS_HOME`` may be mistyped.
        """
        if self not in _TIGHTENED and self._is_home():
            _TIGHTENED.add(self)
            own = self.home if self.home not in (Path.home(), REPOSITORY_ROOT) else self.home / "ledgers"
            tighten([own, *(self.home / name for name in FOLDERS)], [])

    def _lacks_file(self) -> bool:
        return self.database is not None and is_missing(self.database)

    def _is_home(self) -> bool:
        """Whether the home has a mark of BizCharts, or is empty."""
        marks = (
            MARK,
            FIRST_START,
            "known-ledgers",
            "ledgers/labels.sqlite",
            "ledgers/pods.sqlite",
            "serve.lock",
            LAKE_MARK,
        )
        if any((self.home / mark).exists() for mark in marks) or not is_missing(self.home / DATABASE):
            return True
        return self.home.is_dir() and not any(self.home.iterdir())

    def tighten_database(self) -> None:
        """Remove other users' access to the database and the files beside it, which has been opened: it is BizCharts's
        own; once per process."""
        if self.database and self.database not in _TIGHTENED_DATABASES:
            _TIGHTENED_DATABASES.add(self.database)
            tighten([], [Path(f"{self.database}{suffix}") for suffix in ("", *BESIDE_DATABASE)])

    def confirm(self) -> None:
        """Mark that the installation has a database; if it is marked already, this costs two file checks."""
        outside = _outside_mark(self.home)
        marks = [mark for mark in (self.home / MARK, outside) if mark is not None and not mark.exists()]
        if not marks:
            return
        content = {"home": str(self.home), "database": str(self.database), "since": utc_now().isoformat()}
        with suppress(OSError):  # a full disk: the next command marks it
            for mark in marks:
                write_atomically(mark, json.dumps(content).encode() + b"\n")
            (self.home / FIRST_START).unlink(missing_ok=True)

    def forget(self) -> None:
        """Delete the marks that the installation has had a database: the next start is a first start, whatever files
        the home holds.
        """
        for mark in (self.home / MARK, self.home / LAKE_MARK, _outside_mark(self.home)):
            if mark is not None:
                mark.unlink(missing_ok=True)
        write_atomically(self.home / FIRST_START, b"A new, empty database was requested.\n")

    def _evidence(self) -> str | None:
        """Return the evidence that the installation has had a database; ``None`` on a first start."""
        for mark in (self.home / MARK, self.home / LAKE_MARK, _outside_mark(self.home)):
            if mark is not None and mark.exists():
                return f"recorded in {mark}{_since(mark)}"
        if (self.home / FIRST_START).exists():
            return None
        return next((f"{left} exists" for left in self._leftovers()), None)

    def _leftovers(self) -> Iterator[Path]:
        if self.database is None:
            return
        for suffix in (".wal", ".checkpoint"):
            yield from (log for log in [Path(f"{self.database}{suffix}")] if log.exists())
        yield from self.database.parent.glob(f"{self.database.name}.before-*")
        for pattern in _LEFTOVERS:
            yield from self.home.glob(pattern)


def check_home(home: Path) -> None:
    """Check that the installation's ``home`` still exists or is new; for components that keep records there outside the
    database.

    Raises:
        DatabaseLost: the home has had a database, and all its content is missing.
    """
    outside = _outside_mark(home)
    if outside is not None and outside.exists() and not (home / MARK).exists():
        Installation(home, home / DATABASE).check()


def own_file(home: Path) -> Path | None:
    """Return the DuckDB file that is the database of ``home``, wherever it is; ``None`` if there is none."""
    file = home / DATABASE
    with suppress(OSError, ValueError, KeyError, TypeError):
        file = Path(json.loads(read_regular(home / MARK))["database"])
    return None if is_missing(file) else file


def is_missing(path: Path) -> bool:
    """Whether the database does not exist or is an empty file."""
    return not path.exists() or (not is_special(path) and path.stat().st_size == 0)


def _outside_mark(home: Path) -> Path | None:
    """The mark of ``home`` in ``DAGSTER_HOME``; ``None`` if that is not set or not a folder."""
    dagster_home = os.environ.get("DAGSTER_HOME")
    if not dagster_home or not Path(dagster_home).is_dir():
        return None
    return Path(dagster_home) / OUTSIDE / f"{hashlib.sha256(os.fsencode(home)).hexdigest()[:16]}.json"


def _since(mark: Path) -> str:
    try:
        return f", since {datetime.fromisoformat(json.loads(read_regular(mark))['since']):%Y-%m-%d}"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
