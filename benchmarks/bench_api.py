"""What programs wait for: answers of the API beside a bare Starlette handler, and an export beside a bare COPY.

The database has ten years of hours, as many days, and a million hours of coins.
"""

import http.client
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from statistics import median, quantiles

import duckdb

from benchmarks.measure import Ratio, Row
from bizcharts_pipeline.exports.write import export
from bizcharts_pipeline.settings import REPOSITORY_ROOT, FearGreedSettings, load_settings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

HOURS = 87_600
COIN_ROWS = 1_000_000
COINS = 40
REQUESTS = 200
PAGE = 200  # rows of an answer, as a chart of eight days asks for
NOW = datetime(2026, 6, 1)

_TIMES = "start + length + INTERVAL 3 MINUTE AS computed_at, start + length + INTERVAL 30 SECOND AS knowable_at"
_INDEX = f"""
INSERT INTO fear_greed_index BY NAME
SELECT start AS bucket_start, '{{bucket}}' AS bucket, v AS value, greatest(v - 5, 0) AS lo, least(v + 5, 100) AS hi,
       'Neutral' AS label, v / 100 - 0.5 AS stance, v / 100 - 0.6 AS stance_lo, v / 100 - 0.4 AS stance_hi,
       v / 100 - 0.5 AS raw_stance, 'normal' AS state, TRUE AS final, 250 AS n, 180.0 AS n_eff, 1.0 AS coverage,
       '{{model}}' AS model_version, 'live' AS basis, {_TIMES}, 365 AS history_days, 'filter-3' AS method
FROM (SELECT TIMESTAMP '{{now}}' - (i + 1) * {{length}} AS start, {{length}} AS length, 100 * random() AS v
      FROM range({{rows}}) r(i))
"""
_COINS = f"""
INSERT INTO coin_sentiment BY NAME
SELECT 'C' || (i % {COINS}) AS coin_symbol, start AS bucket_start, 'hour' AS bucket, random() AS score, 0.0 AS lo,
       1.0 AS hi, 5 AS mentions, 4.0 AS n_eff, TRUE AS final, '{{model}}' AS model_version, 'live' AS basis, {_TIMES},
       'filter-3' AS method
FROM (SELECT i, TIMESTAMP '{{now}}' - (i // {COINS} + 1) * INTERVAL 1 HOUR AS start, INTERVAL 1 HOUR AS length
      FROM range({COIN_ROWS}) r(i))
"""


def rows() -> Iterator[Row]:
    """Yield the figures; requests take turns, so that a busy moment meets all of them."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        database = DatabaseFile(home / "bizcharts.duckdb")
        fill(database, NOW, "lexicon")
        asked = {
            "bare": "/nothing",
            "index": f"/v1/index?limit={PAGE}",
            "index as of": f"/v1/index?limit={PAGE}&as_of=2024-01-01",
            "candles": f"/v1/candles?limit={PAGE}",
            "candles, 10,000": "/v1/candles?limit=10000",
        }
        command = [sys.executable, "-m", "benchmarks.bench_api", folder]
        with subprocess.Popen(command, cwd=REPOSITORY_ROOT, stdout=subprocess.PIPE, text=True) as server:
            try:
                assert server.stdout
                taken = _ask(int(server.stdout.readline()), asked)
            finally:
                server.kill()
        floor = quantiles(taken["bare"], n=20)[-1]
        yield "bare Starlette handler, p95", floor, "ms", f"the floor: {PAGE} rows from memory, same server"
        for name in list(asked)[1:]:
            p95, middle = quantiles(taken[name], n=20)[-1], median(taken[name])
            note = f"median {middle:.1f} ms; {HOURS:,} hours in the database; over the handler's p95"
            yield f"/v1 {name}, p95", p95, "ms", note, Ratio(p95 / floor)
        seconds, bare = _export(database, home)
        written = COIN_ROWS + HOURS + HOURS // 24
        note = "Parquet, CSV and JSON, report, hashes, fsync; over a bare COPY"
        yield "export, for a million rows", seconds / written * 1e6, "s", note, Ratio(seconds / bare)
        yield (
            "bare COPY of it, for a million rows",
            bare / written * 1e6,
            "s",
            "the three formats, of the tables as they are",
        )


def _ask(port: int, asked: dict[str, str]) -> dict[str, list[float]]:
    """Return the milliseconds of each request, over one connection."""
    taken: dict[str, list[float]] = {name: [] for name in asked}
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    for number in range(REQUESTS + 5):
        for name, path in asked.items():
            started = time.perf_counter()
            connection.request("GET", path)
            answer = connection.getresponse()
            body = answer.read()
            elapsed = (time.perf_counter() - started) * 1e3
            if answer.status != 200:
                raise SystemExit(f"{path}: {answer.status} {body[:200]!r}")
            if number >= 5:  # the first ones import and connect
                taken[name].append(elapsed)
    return taken


def _export(database: DatabaseFile, home: Path) -> tuple[float, float]:
    """Return the seconds of an export, and of COPY statements on the same tables in the same formats."""
    started = time.perf_counter()
    export(database, home / "exports", FearGreedSettings(), NOW)
    seconds = time.perf_counter() - started
    (home / "bare").mkdir()
    with duckdb.connect(str(database.path), read_only=True) as connection:
        started = time.perf_counter()
        for table in ("fear_greed_index", "coin_sentiment"):
            for ending in ("parquet", "csv", "json"):
                connection.execute(f"COPY {table} TO '{home / 'bare' / table}.{ending}' (FORMAT {ending})")
        return seconds, time.perf_counter() - started


def fill(database: DatabaseFile, now: datetime, model: str) -> None:
    """Publish ten years of hours and days up to ``now``, and a million hours of coins, by ``model``."""
    values = {"now": now, "model": model}
    with database.write() as connection:
        connection.execute(_INDEX.format(bucket="hour", length="INTERVAL 1 HOUR", rows=HOURS, **values))
        connection.execute(_INDEX.format(bucket="day", length="INTERVAL 1 DAY", rows=HOURS // 24, **values))
        connection.execute(_COINS.format(**values))


def _serve(home: Path) -> None:
    """Serve the API with one request more, which answers as much as the index does, from memory."""
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Mount, Route

    from bizcharts_pipeline.api.app import api_app
    from bizcharts_pipeline.api.source import Source

    answer = b"x" * (PAGE * 550)

    async def nothing(request: Request) -> Response:
        return Response(answer, media_type="application/json")

    settings = load_settings(home=home)
    source = Source(lambda: DatabaseFile(Path(settings.database_name), 20), settings.fear_greed, lambda: NOW)
    api = api_app(source, frozenset({"127.0.0.1"}), 10**9)
    app = Starlette(routes=[Route("/nothing", nothing), Mount("/", app=api)])
    with socket.create_server(("127.0.0.1", 0)) as listener:
        print(listener.getsockname()[1], flush=True)
        with suppress(KeyboardInterrupt):
            uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")).run([listener])


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
