"""What people wait for: the app's pages in Chromium, and what open pages cost the server and the pipeline.

The database has a million scored posts, ten years of hours and days, and a million hours of coins.
"""

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from benchmarks import bench_api, bench_big
from benchmarks.measure import Ratio, Row, alternated, ratio
from bizcharts_pipeline.index.update import update_index
from bizcharts_pipeline.sentiment.lexicon import LexiconScorer
from bizcharts_pipeline.settings import REPOSITORY_ROOT, FearGreedSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

POSTS = 1_000_000
NOW = bench_big.NOW.replace(minute=0)
PAGES = ("", "?range=All", "moved", "coins", "coin?coin=C1", "models", "data")
CHARTS = ("", "?range=All", "coin?coin=C1")
EMPTY = "empty"  # no page of the app: nothing to wait for but the last line
ROUNDS = 3
TABS = 200
WRITES = 40
MILLISECONDS = 60_000
CHROMIUM = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []

# The longest time between two frames while ten keys zoom in and out.
_FRAMES = """async (chart) => {
  const gaps = [];
  let last = performance.now(), open = true;
  const frame = (now) => { gaps.push(now - last); last = now; if (open) requestAnimationFrame(frame); };
  requestAnimationFrame(frame);
  for (const key of "+++++-----") {
    chart.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
    await new Promise((done) => setTimeout(done, 100));
  }
  open = false;
  return Math.max(...gaps);
}"""


def rows() -> Iterator[Row]:
    """Yield the figures."""
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _build(home)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=CHROMIUM)
            with _server(home) as (process, address), _empty_server() as empty:
                yield from _first_paint(browser, address, empty)
                yield "longest frame while zooming ten years", _longest_frame(browser, address), "ms", "goal: 50"
                yield from _memory(browser, address, process)
                yield from _writers(browser, address, home)
            browser.close()


def _build(home: Path) -> None:
    database = bench_big.build(home / "bizcharts.duckdb", POSTS)
    model = LexiconScorer().model_version
    bench_api.fill(database, NOW, model)
    with database.write() as connection:
        for table in ("scored_posts", "scored_mentions"):
            connection.execute(f"UPDATE {table} SET model_version = '{model}'")
    update_index(database, model_version=model, now=NOW, parameters=FearGreedSettings(), full=True)


def _first_paint(browser: "Browser", address: str, empty: str) -> Iterator[Row]:
    first, floor = _opened(browser, address, ""), _opened(browser, empty, EMPTY)
    note = "imports, and no read is kept; goal: 5; over an empty page of Streamlit"
    yield "first page of a new server", first, "s", note, Ratio(first / floor)
    floors: list[float] = []
    for path in PAGES:
        first = _opened(browser, address, path)
        ours, bare = alternated(
            partial(_opened, browser, address, path), partial(_opened, browser, empty, EMPTY), rounds=ROUNDS
        )
        floors += bare
        note = f"first time {first:.2f} s; goal: 2; over an empty page"
        yield f"/{path}, warm", median(ours), "s", note, ratio(ours, bare)
    yield "an empty page of Streamlit, warm", median(floors), "s", "same browser, same run; one line"


def _opened(browser: "Browser", address: str, path: str) -> float:
    """Return the seconds until a page of a new browser context is drawn."""
    context = browser.new_context()
    try:
        page = context.new_page()
        started = time.perf_counter()
        _open(page, address, path)
        return time.perf_counter() - started
    finally:
        context.close()


def _open(page: "Page", address: str, path: str) -> None:
    page.goto(f"{address}/{path}")
    page.get_by_text("Research tool, not financial advice").wait_for(timeout=MILLISECONDS)
    if path in CHARTS:
        page.locator(".chart[data-ready]").wait_for(timeout=MILLISECONDS)


def _longest_frame(browser: "Browser", address: str) -> float:
    context = browser.new_context()
    page = context.new_page()
    _open(page, address, "?range=All")
    page.wait_for_timeout(1000)
    longest = page.locator(".chart").evaluate(_FRAMES)
    context.close()
    return float(longest)


def _memory(browser: "Browser", address: str, process: "subprocess.Popen[str]") -> Iterator[Row]:
    """The server's memory before and after many tabs were opened and closed."""
    for _ in range(TABS // 10):
        _opened(browser, address, "")
    before = _megabytes(process.pid)
    for _ in range(TABS):
        _opened(browser, address, "")
    time.sleep(5)
    after = _megabytes(process.pid)
    yield "server's memory", before, "MB", f"after {TABS // 10} tabs"
    yield f"growth over {TABS} more tabs", after - before, "MB", "opened and closed one after the other"


def _megabytes(pid: int) -> float:
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1e3
    raise ProcessLookupError(pid)


def _writers(browser: "Browser", address: str, home: Path) -> Iterator[Row]:
    """How long a writer waits, alone and beside three tabs that are opened anew all the time."""
    alone = _waits(home, lambda: time.sleep(0.1))
    pages: list[Any] = [browser.new_context().new_page() for _ in range(3)]

    def reload() -> None:
        for page, path in zip(pages, ("?range=All", "moved", "coins"), strict=True):
            page.goto(f"{address}/{path}")
        pages[0].wait_for_timeout(1000)

    beside = _waits(home, reload)
    yield "longest write, alone", alone, "s", f"{WRITES} writes, four a second"
    yield "longest write, beside three tabs that reload", beside, "s", "each write makes the pages read again; goal: 2"


def _waits(home: Path, meanwhile: Any) -> float:
    """Return the seconds of the longest of many writes by another process; ``meanwhile`` is repeated until its end."""
    command = [sys.executable, "-m", "benchmarks.bench_app", str(home)]
    with subprocess.Popen(command, cwd=REPOSITORY_ROOT, stdout=subprocess.PIPE, text=True) as writer:
        while writer.poll() is None:
            meanwhile()
        assert writer.stdout
        return float(writer.stdout.read())


@contextmanager
def _empty_server() -> Iterator[str]:
    """Serve :mod:`benchmarks.empty_page` by Streamlit alone, and yield its address."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    page = Path(__file__).with_name("empty_page.py")
    command = [sys.executable, "-m", "streamlit", "run", str(page), f"--server.port={port}", "--server.headless=true"]
    options = ["--server.address=127.0.0.1", "--browser.gatherUsageStats=false", "--server.fileWatcherType=none"]
    process = subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + MILLISECONDS / 1e3
        while not _answers(port):
            if time.monotonic() > until:
                raise TimeoutError("Streamlit did not start")
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


@contextmanager
def _server(home: Path) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    program = "from bizcharts_pipeline.cli.main import main; main()"
    process = subprocess.Popen(
        [sys.executable, "-c", program, "app", "--port", "0"],
        cwd=REPOSITORY_ROOT,
        env={**os.environ, "BIZCHARTS_HOME": str(home), "BIZCHARTS_NOW": NOW.isoformat()},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout
        address = next(line.strip() for line in process.stdout if line.startswith("http://"))
        yield process, address
    finally:
        process.kill()
        process.wait()


def _write(home: Path) -> None:
    """Print the seconds of the longest of many small writes, as a minutely run makes them."""
    database = DatabaseFile(home / "bizcharts.duckdb", 60)
    longest = 0.0
    for number in range(WRITES):
        started = time.perf_counter()
        with database.write() as connection:
            connection.execute(f"UPDATE fear_greed_index SET n = {number} WHERE bucket = 'hour' AND n = {number - 1}")
            connection.execute(
                "INSERT INTO catalog_snapshots (snapshot_at, not_modified) SELECT now()::TIMESTAMP, TRUE"
            )
        longest = max(longest, time.perf_counter() - started)
        time.sleep(0.25)
    print(longest)


if __name__ == "__main__":
    _write(Path(sys.argv[1]))
