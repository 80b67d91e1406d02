"""Runs all benchmarks, prints a table and stores it: ``python -m benchmarks [ROOM ...]``."""

import json
import platform
import sys
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

from rich.console import Console
from rich.table import Table

ROOMS = (
    "text",
    "sources",
    "archive",
    "warehouse",
    "big",
    "index",
    "recovery",
    "estimator",
    "people",
    "tick",
    "labeller",
    "api",
    "app",
    "autolabel",
    "queue",
    "drift",
    "fusion",
)
RESULTS = Path(__file__).parent / "results"


def main(rooms: list[str]) -> None:
    console = Console(width=140)
    kept = []
    for room in rooms or ROOMS:
        table = Table("figure", "value", "unit", "note", title=room, box=None, title_justify="left")
        for name, value, unit, note in import_module(f"benchmarks.bench_{room}").rows():
            table.add_row(name, f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}", unit, note)
            kept.append({"room": room, "name": name, "value": value, "unit": unit, "note": note})
        console.print(table, "")
    RESULTS.mkdir(exist_ok=True)
    now = datetime.now(UTC)
    file = RESULTS / f"{now:%Y%m%dT%H%M%SZ}.json"
    machine = {"machine": platform.machine(), "python": platform.python_version()}
    file.write_text(json.dumps({"at": now.isoformat(), **machine, "rows": kept}, indent=1), encoding="utf-8")
    console.print(f"stored in {file.relative_to(Path.cwd())}")


if __name__ == "__main__":
    main(sys.argv[1:])
