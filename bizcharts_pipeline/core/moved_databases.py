"""Record, in the home of an installation, of databases that ``bizcharts migrate`` has copied elsewhere.

The copied one stays as it was, with its ledgers. A process that still used it would store rows that nobody looks for,
and spend a budget that is also spent through the other database.
"""

import json
from datetime import datetime
from pathlib import Path

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import read_regular, write_atomically

FILE = "moved.json"  # in the home: {database: {"to": database, "at": time, UTC}}, names as settings give them


class DatabaseMoved(BizchartsError):
    """The settings name a database that was copied to another one, which is used since then."""


def record_move(home: Path, source: str, target: str, now: datetime) -> None:
    """Record that the database ``source`` of ``home`` was copied to ``target``, which is used from ``now`` (naive UTC)
    on."""
    moves = _read(home)
    moves.pop(target, None)
    moves[source] = {"to": target, "at": now.isoformat(timespec="seconds")}
    write_atomically(home / FILE, json.dumps(moves, indent=1).encode() + b"\n")


def refuse_moved(home: Path, database: str) -> None:
    """Check that ``database`` is not one that was moved.

    Raises:
        DatabaseMoved: it is, or the record in ``home`` cannot be read.
    """
    if move := _read(home).get(database):
        raise DatabaseMoved(
            f"{database} was copied to {move['to']} at {move['at']} UTC, and has had no changes since. Set "
            f"BIZCHARTS_DATABASE to {move['to']}; or, to go on with {database} as it was then, with its ledgers, "
            f"delete {home / FILE}."
        )


def _read(home: Path) -> dict[str, dict[str, str]]:
    path = home / FILE
    try:
        moves = json.loads(read_regular(path))
        return {str(source): {"to": str(move["to"]), "at": str(move["at"])} for source, move in moves.items()}
    except OSError:
        return {}
    except (ValueError, AttributeError, KeyError, TypeError):
        raise DatabaseMoved(
            f"{path} cannot be read. It names the databases that `bizcharts migrate` has copied elsewhere; if "
            f"BIZCHARTS_DATABASE names the one that is used now, delete it."
        ) from None
