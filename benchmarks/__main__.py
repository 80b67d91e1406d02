"""Runs benchmarks, prints a table and stores it: ``python -m benchmarks [ROOM ...] [--compare] [--keep]``."""

import json
import sys
from argparse import ArgumentParser
from collections.abc import Sequence
from dataclasses import asdict
from importlib import import_module
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.compare import Verdict, compare, lower
from benchmarks.history import HISTORY, RUN_COLUMNS, Figure, Run, figures_of, keep, read, this_run
from benchmarks.plot import svg_history
from bizcharts_pipeline.core.files import write_atomically

ROOMS = (
    "text",
    "encoder",
    "sources",
    "archive",
    "warehouse",
    "storage",
    "big",
    "index",
    "recovery",
    "estimator",
    "people",
    "tick",
    "lake",
    "workers",
    "labeller",
    "api",
    "app",
    "autolabel",
    "queue",
    "drift",
    "fusion",
    "switch",
    "curve",
    "continual",
)
RESULTS = Path(__file__).parent / "results"


def main(arguments: Sequence[str], console: Console) -> int:
    """Return the exit status: 1 if a figure has regressed."""
    parser = ArgumentParser("python -m benchmarks", description="Benchmarks, each beside a peer or a lower bound.")
    parser.add_argument("rooms", nargs="*", metavar="ROOM", help=f"all unless named: {', '.join(ROOMS)}")
    parser.add_argument("--last", action="store_true", help="take the newest stored result instead of running any")
    parser.add_argument("--compare", action="store_true", help="exit with status 1 if a ratio is worse than usual")
    parser.add_argument("--keep", action="store_true", help=f"append the ratios to {HISTORY.name}")
    parser.add_argument("--plot", type=Path, metavar="FILE", help=f"draw {HISTORY.name} as SVG, and run nothing")
    asked = parser.parse_args(arguments)
    if unknown := set(asked.rooms) - set(ROOMS):
        parser.error(f"no such room: {', '.join(sorted(unknown))}; there are {', '.join(ROOMS)}")
    if asked.last and asked.rooms:
        parser.error("--last takes what was stored: name no rooms with it")
    if asked.plot:
        try:
            write_atomically(asked.plot, svg_history(read(HISTORY)).encode())
        except OSError as error:
            parser.error(f"{asked.plot} cannot be written: {error.strerror}")
        return 0
    history = read(HISTORY)
    figures = _last() if asked.last else _run(asked.rooms or ROOMS, console)
    if asked.keep:
        console.print(f"{keep(figures, HISTORY)} ratios appended to {HISTORY.name}")
    if not asked.compare:
        return 0
    verdicts = compare(figures, history)
    doubtful = sorted({verdict.figure.room for verdict in verdicts if verdict.word == "regression"})
    if doubtful and not asked.last:
        console.print(f"measured again, as ratios seem to be worse: {', '.join(doubtful)}")
        again = [row for room in doubtful for row in _measured(room, console)]
        # Of the same run: by now the load of the machine is that of the benchmarks.
        verdicts = compare(lower(figures, figures_of(figures[0].run, again)), history)
    console.print(_table(verdicts))
    return 1 if any(verdict.word == "regression" for verdict in verdicts) else 0


def _run(rooms: Sequence[str], console: Console) -> list[Figure]:
    """Measure ``rooms`` and return their ratios. All rows are stored after each room, so that a failure loses one."""
    run = this_run()
    rows: list[dict[str, Any]] = []
    file = RESULTS / f"{run.at.translate({ord(sign): None for sign in '-:'})}.json"
    for room in rooms:
        rows += _measured(room, console)
        write_atomically(file, json.dumps({**asdict(run), "rows": rows}, indent=1).encode())
    console.print(f"stored in {file.relative_to(RESULTS.parents[1])}")
    return figures_of(run, rows)


def _measured(room: str, console: Console) -> list[dict[str, Any]]:
    """Measure ``room``, print its rows and return them.

    Raises:
        ValueError: two ratios have the same name.
    """
    rows: list[dict[str, Any]] = []
    table = Table("figure", "value", "unit", "ratio", "note", title=room, box=None, title_justify="left")
    for name, value, unit, note, *compared in import_module(f"benchmarks.bench_{room}").rows():
        if compared and any(row["name"] == name and row["ratio"] for row in rows):
            raise ValueError(f"{room}: two rows with a ratio are named {name!r}")
        words = f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}"
        table.add_row(name, words, unit, *(map(str, compared) if compared else [""]), note)
        ratio = asdict(compared[0]) if compared else None
        rows.append({"room": room, "name": name, "value": value, "unit": unit, "note": note, "ratio": ratio})
    console.print(table, "")
    return rows


def _last() -> list[Figure]:
    files = sorted(RESULTS.glob("*.json"))
    if not files:
        raise SystemExit(f"{RESULTS}: there is no result; run without --last")
    stored: dict[str, Any] = json.loads(files[-1].read_text(encoding="utf-8"))
    return figures_of(Run(**{name: stored[name] for name in RUN_COLUMNS}), stored["rows"])


def _table(verdicts: Sequence[Verdict]) -> Table:
    table = Table("room", "figure", "ratio", "usual", "noise up to", "runs", "verdict", box=None)
    for verdict in verdicts:
        usual = "" if verdict.usual is None else f"{verdict.usual:.3g}"
        noise = "" if verdict.allowed is None else f"+{verdict.allowed - 1:.0%}"
        figure = verdict.figure
        table.add_row(figure.room, figure.name, str(figure.ratio), usual, noise, str(verdict.runs), verdict.word)
    return table


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Console(width=160)))
