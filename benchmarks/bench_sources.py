"""How fast a catalogue is read, beside the bare JSON parser on the same body in the same run.

Run: ``python benchmarks/bench_sources.py``
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.sources.fourchan import parse_catalog
from bizcharts_pipeline.sources.spool import Poll, Spool

ROUNDS = 30
Row = tuple[str, float, str, str]

_MOMENT = datetime(2026, 1, 5, 18)


def rows() -> list[Row]:
    """Return ``(name, value, unit, note)`` of each figure: medians of alternated runs."""
    body = json.dumps(World(1, datetime(2026, 1, 1), 10).catalog(_MOMENT), separators=(",", ":")).encode()
    return [*_parse_rows(body), _spool_row(body)]


def _parse_rows(body: bytes) -> list[Row]:
    ours, bare = _alternated_medians(
        lambda: parse_catalog(body, board="biz", image_url="https://i.4cdn.org"), lambda: json.loads(body)
    )
    size = f"a simulated catalogue of 150 threads, {len(body):,} bytes"
    return [
        ("parse_catalog", 1 / ours, "catalogues/s", size),
        ("parse_catalog", len(body) / ours / 1e6, "MB/s", size),
        ("json.loads alone", 1 / bare, "catalogues/s", "same body, same run"),
        ("json.loads alone", len(body) / bare / 1e6, "MB/s", "same body, same run"),
        ("parse_catalog over json.loads", ours / bare, "times", "time of ours over time of the bare parser"),
    ]


def _spool_row(body: bytes) -> Row:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        poll = Poll(_MOMENT, 200, _MOMENT, "https://a.4cdn.org/biz/catalog.json", body)
        (seconds,) = _alternated_medians(lambda: spool.read(spool.put(poll)))
    return ("spool put and read", seconds * 1000, "ms", "compressed and synced to disk, then read back")


def _alternated_medians(*functions: Callable[[], object]) -> list[float]:
    """Return each function's median seconds; they take turns, so that a busy moment meets them all."""
    times: list[list[float]] = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, taken in zip(functions, times, strict=True):
            began = time.perf_counter()
            function()
            taken.append(time.perf_counter() - began)
    return [statistics.median(taken) for taken in times]


def main() -> None:
    """Print the rows."""
    _print(rows())


def _print(lines: Iterable[Row]) -> None:
    for name, value, unit, note in lines:
        print(f"{name:32} {value:12,.2f} {unit:14} {note}")


if __name__ == "__main__":
    main()
