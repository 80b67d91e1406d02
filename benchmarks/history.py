"""History of the benchmarks' ratios: a CSV file in the repository, one line a figure and run.

It names the processor and the number of cores, and nothing else of the machine.
"""

import csv
import os
import platform
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from io import StringIO
from math import inf
from pathlib import Path
from typing import Any

from benchmarks.measure import Ratio
from bizcharts_pipeline.core.files import write_atomically

HISTORY = Path(__file__).parent / "history.csv"
LOADED = 0.5  # running processes per core before the benchmarks start, over the last minute


@dataclass(frozen=True)
class Run:
    """One call of the benchmarks. ``loaded``: other programs were busy on the machine when it began."""

    at: str  # UTC, ISO 8601, to the second
    commit: str  # short hash, with "-dirty" after it if files differed from it; empty outside git
    machine: str  # processor and cores
    loaded: bool

    @property
    def kind(self) -> str:
        """What the ratios of two runs must have in common to be compared."""
        return f"{self.machine}, loaded" if self.loaded else self.machine


@dataclass(frozen=True)
class Figure:
    """A ratio of a run."""

    run: Run
    room: str
    name: str
    ratio: Ratio


RUN_COLUMNS = tuple(field.name for field in fields(Run))
COLUMNS = (*RUN_COLUMNS, "room", "name", "ratio", "spread", "rounds")


def this_run() -> Run:
    """Describe a run that begins now."""
    cores = os.cpu_count() or 1
    return Run(
        at=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        commit=_commit(),
        machine=f"{_processor()}, {cores} cores",
        loaded=os.getloadavg()[0] / cores > LOADED,
    )


def read(path: Path) -> list[Figure]:
    """Return all figures, oldest run first; none if there is no file.

    Raises:
        SystemExit: a line cannot be read; the message names it.
    """
    if not path.exists():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        if tuple(next(lines, ())) != COLUMNS:
            raise SystemExit(f"{path}: the first line must be {','.join(COLUMNS)}")
        found = [_figure(line, f"{path}, line {lines.line_num}") for line in lines]
    return sorted(found, key=lambda figure: figure.run.at)


def keep(figures: Sequence[Figure], path: Path) -> int:
    """Append the figures of runs that ``path`` does not have yet; return their number."""
    known = {figure.run.at for figure in read(path)}
    new = [figure for figure in figures if figure.run.at not in known]
    before = path.read_bytes() if path.exists() else b""
    added = StringIO()
    csv.writer(added, lineterminator="\n").writerows([*([] if before else [COLUMNS]), *map(_line, new)])
    write_atomically(path, before + added.getvalue().encode())
    return len(new)


def figures_of(run: Run, rows: Iterable[dict[str, Any]]) -> list[Figure]:
    """Return the figures among the rows of a result file."""
    return [Figure(run, row["room"], row["name"], Ratio(**row["ratio"])) for row in rows if row["ratio"]]


def _line(figure: Figure) -> tuple[object, ...]:
    run = asdict(figure.run) | {"loaded": "yes" if figure.run.loaded else "no"}
    ratio = figure.ratio
    return (*run.values(), figure.room, figure.name, f"{ratio.value:.5g}", f"{ratio.spread:.3g}", ratio.rounds)


def _figure(line: list[str], where: str) -> Figure:
    try:
        at, commit, machine, loaded, room, name, value, spread, rounds = line
        run = Run(at, commit, machine, {"yes": True, "no": False}[loaded])
        found = Figure(run, room, name, Ratio(float(value), int(rounds), float(spread)))
        if not 0 < found.ratio.value < inf or found.ratio.rounds < 1:
            raise ValueError(value)
        return found
    except (ValueError, KeyError):
        raise SystemExit(f"{where}: not a line of {','.join(COLUMNS)}; correct or delete it") from None


def _processor() -> str:
    """Return the processor's model; ``platform`` does not know it on Linux."""
    information = Path("/proc/cpuinfo")
    lines = information.read_text(encoding="utf-8").splitlines() if information.exists() else []
    models = [
        value.strip() for name, _, value in (line.partition(":") for line in lines) if name.strip() == "model name"
    ]
    return models[0] if models else platform.processor() or platform.machine()


def _commit() -> str:
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    finished = subprocess.run(command, cwd=HISTORY.parent, capture_output=True, text=True, check=False)
    return finished.stdout.strip()
