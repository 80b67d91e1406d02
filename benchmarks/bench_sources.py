"""Speed of parsing a catalogue, compared with the bare JSON parser on the same body.

Run: ``python -m benchmarks sources``
"""

import json
import time
from datetime import datetime
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from benchmarks.measure import Row, alternated, ratio, seconds_of
from bizcharts_pipeline.board.client import parse_catalog
from bizcharts_pipeline.board.spool import Poll, Spool
from bizcharts_pipeline.demo.world import World

ROUNDS = 30

_MOMENT = datetime(2026, 1, 5, 18)


def rows() -> list[Row]:
    """Return every figure: medians of alternated runs, parsing in CPU time."""
    body = json.dumps(World(1, datetime(2026, 1, 1), 10).catalog(_MOMENT), separators=(",", ":")).encode()
    return [*_parse_rows(body), _spool_row(body)]


def _parse_rows(body: bytes) -> list[Row]:
    ours, bare = alternated(
        lambda: parse_catalog(body, board="biz", image_url="https://i.4cdn.org"),
        lambda: json.loads(body),
        rounds=ROUNDS,
        clock=time.process_time,
    )
    middle, floor = median(ours), median(bare)
    size = f"a simulated catalogue of 150 threads, {len(body):,} bytes"
    return [
        ("parse_catalog", 1 / middle, "catalogues/s", f"{size}; over json.loads", ratio(ours, bare)),
        ("parse_catalog", len(body) / middle / 1e6, "MB/s", size),
        ("json.loads alone", 1 / floor, "catalogues/s", "same body, same run"),
        ("json.loads alone", len(body) / floor / 1e6, "MB/s", "same body, same run"),
    ]


def _spool_row(body: bytes) -> Row:
    with TemporaryDirectory() as folder:
        spool = Spool(Path(folder))
        poll = Poll(_MOMENT, 200, _MOMENT, "https://a.4cdn.org/biz/catalog.json", body)
        seconds = seconds_of(lambda: spool.read(spool.put(poll)))
    return ("spool put and read", seconds * 1000, "ms", "compressed and synced to disk, then read back")
