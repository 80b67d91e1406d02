"""Everything at once, in real time: the service with its schedules, a backfill, a labeller and an app in a browser,
training, maintenance and backups. No row and no label is lost, no run fails, and memory does not grow.

It lasts ``SOAK_SECONDS`` (default: 20 minutes; 86400 for a day).
"""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from random import Random
from statistics import median
from threading import Event
from typing import Any

import pytest
from chromium import chromium
from dagster_ui import DagsterUI, wait_until
from installation import REPOSITORY, Installation
from playwright.sync_api import Page, sync_playwright
from web.labeller_world import labeller, ready

from bizcharts_pipeline.core.clock import midnight, utc_now
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.prices.server import SimulatedPrices
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.text.html import html_to_text

SECONDS = float(os.environ.get("SOAK_SECONDS", "1200"))
DAYS = 6  # of the archive
LABELS = 240  # imported at the beginning, so that there is something to learn from
MOST_GROWTH = 1.3  # of the service's memory, from the second quarter to the last
_RUNS = "{ runsOrError(filter: {statuses: [%s]}) { ... on Runs { results { runId jobName } } } }"
_CHROMIUM = ["--no-sandbox"] if os.geteuid() == 0 else []


@pytest.mark.acceptance
@pytest.mark.timeout(SECONDS + 7200)
def test_all_that_an_installation_does_at_once_loses_nothing(tmp_path: Path) -> None:
    began = utc_now()
    world = World(
        23, midnight(began.date()) - timedelta(days=DAYS + 2), DAYS + 2 + SECONDS / 86400 + 2, threads_per_day=200
    )
    stop = Event()
    with ExitStack() as stack:
        board = stack.enter_context(SimulatedBoard(world, now=began))
        archive = stack.enter_context(SimulatedArchive(world, now=began))
        prices = stack.enter_context(SimulatedPrices())
        installation = _installation(tmp_path, world, board, archive, prices)
        _import_labels(installation, world)
        ui = DagsterUI(installation)
        ui.start()
        stack.callback(ui.stop)
        wait_until(lambda: bool(_runs(ui, "SUCCESS").get("live")), 300)  # there are posts
        days = [f"{world.start + timedelta(days=number):%Y-%m-%d}" for number in range(1, DAYS + 1)]
        with ThreadPoolExecutor(16) as pool:  # all at once

            def moved() -> None:
                board.now = archive.now = utc_now()

            work = {
                "clock": pool.submit(_repeat, stop, 0.5, moved),
                "labels": pool.submit(_label, stop, installation),
                "pages": pool.submit(_look, stop, installation),
                "trainings": pool.submit(_repeat, stop, 5, lambda: _run(installation, "training")),
                "maintenance": pool.submit(_repeat, stop, 30, lambda: _run(installation, "maintenance")),
                "backups": pool.submit(_repeat, stop, 60, lambda: _back_up(installation)),
                "backfills": pool.submit(_repeat, stop, 60, lambda: _fill(ui, days)),
                "writes": pool.submit(_write, stop, installation),
                "memory": pool.submit(_weigh, stop, ui),
            }
            end = time.monotonic() + SECONDS
            while time.monotonic() < end and not _ended(work):
                time.sleep(1)
            stop.set()
            done = {name: future.result() for name, future in work.items()}
        wait_until(lambda: not _runs(ui, "STARTED, QUEUED, STARTING"), 600)
        succeeded, failed = _runs(ui, "SUCCESS"), _runs(ui, "FAILURE")
    minutes = (utc_now() - began) / timedelta(minutes=1)
    board_threads = {thread.thread_id for thread in world.threads_between(began, utc_now() - timedelta(minutes=3))}
    truth = {number for day in days for number in archive.ops_of_day(datetime.fromisoformat(day).date())}
    stored = {number for (number,) in installation.query("SELECT thread_id FROM thread_ops")}
    early, late = _quarters(done["memory"])
    print(
        f"\n{minutes:.0f} minutes: {succeeded['live']} ticks; {done['labels']} labels in the browser, "
        f"{done['pages']} pages of the app, {done['trainings']} trainings, {done['maintenance']} maintenances, "
        f"{done['backups']} backups, {done['backfills']} backfills of {len(days)} days; longest wait of "
        f"{len(done['writes'])} writes {max(done['writes']):.2f} s; memory of the service {early / 2**20:.0f} MiB, "
        f"later {late / 2**20:.0f} MiB"
    )
    assert failed == {}
    assert board_threads - stored == set()
    assert truth - stored == set()
    ledger = LabelLedger(installation.home / LEDGER)
    assert sum(label.origin == "labeller" for label in ledger.all()) == done["labels"]
    assert len(ledger.all()) == done["labels"] + LABELS
    assert succeeded["live"] >= minutes / 2  # a tick is skipped while the one before it is at work
    assert late < early * MOST_GROWTH
    assert installation.run_command("health").returncode in (0, 1)  # 1: the service has ended
    assert installation.run_command("backup", str(tmp_path / "last.backup")).returncode == 0


def _installation(
    folder: Path, world: World, board: SimulatedBoard, archive: SimulatedArchive, prices: SimulatedPrices
) -> Installation:
    return Installation(
        folder,
        board.url,
        extra={
            "BIZCHARTS_FOURCHAN_IMAGE_URL": board.url,
            "BIZCHARTS_WAROSU_URL": archive.url,
            "BIZCHARTS_WAROSU_IMAGE_URL": archive.url,
            "BIZCHARTS_WAROSU_SECONDS_PER_REQUEST": "0.1",
            "BIZCHARTS_ARCHIVE_START": f"{world.start:%Y-%m-%d}",
            **{f"BIZCHARTS_{name}_URL": prices.url for name in ("COINGECKO", "BINANCE", "COINMARKETCAP")},
            "BIZCHARTS_ALTERNATIVE_ME_URL": prices.url,
        },
    )


def _import_labels(installation: Installation, world: World) -> None:
    """Import labels of posts of the first days, with their texts: half of them say what their author thinks."""
    rng, path = Random(5), installation.folder / "labels.csv"
    threads = world.threads_between(world.start, world.start + timedelta(days=3))[:LABELS]
    lines = ["thread_id,labeler_id,sentiment_rating,labeled_at,posted_at,text_snapshot"]
    for thread in threads:
        text = " ".join(html_to_text(thread.html).replace('"', "'").split())
        when = thread.posted_at + timedelta(hours=1)
        lines.append(
            f'{thread.thread_id},ann,{rng.randint(1, 3)},{when.isoformat()},{thread.posted_at.isoformat()},"{text}"'
        )
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert installation.run_command("labels", "import", str(path)).returncode == 0


def _label(stop: Event, installation: Installation) -> int:
    """Label in a browser, a key in half a second; return how many. After the last post, look for new ones."""
    keys, count = Random(7), 0
    with _browser_page() as page, labeller(installation.home, labeller="bob", session="soak") as server:
        page.goto(server.address)
        ready(page)
        while not stop.wait(0.5):
            if page.get_attribute("body", "data-state") != "ready":
                page.reload()
                page.wait_for_load_state("networkidle")
                continue
            before = page.get_attribute("body", "data-thread")
            page.keyboard.press(keys.choice("123"))
            page.wait_for_selector(f'body:not([data-thread="{before}"]):not([data-state="saving"])')
            count += 1
    return count


def _look(stop: Event, installation: Installation) -> int:
    """Reload three tabs of the app in turn; return how many pages were shown."""
    count = 0
    with _app(installation) as address, _browser_page() as first:
        tabs = [first, first.context.new_page(), first.context.new_page()]
        while not stop.wait(2):
            for tab, path in zip(tabs, ("", "coins", "data"), strict=True):
                tab.goto(f"{address}/{path}")
                tab.get_by_role("heading", level=1).wait_for(timeout=120_000)
                assert tab.get_by_test_id("stException").count() == 0
                count += 1
    return count


@contextmanager
def _browser_page() -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=_CHROMIUM)
        page = browser.new_context().new_page()
        page.set_default_timeout(120_000)
        yield page
        browser.close()


@contextmanager
def _app(installation: Installation) -> Iterator[str]:
    """Run ``bizcharts app``; yield its address."""
    log = installation.folder / "app.log"
    command = [sys.executable, "-c", "from bizcharts_pipeline.cli.main import main; main()", "app", "--port", "0"]
    with log.open("wb") as written:
        process = subprocess.Popen(
            command, cwd=REPOSITORY, env=installation.environment(None), stdout=written, stderr=subprocess.STDOUT
        )
    try:
        wait_until(lambda: "http://" in log.read_text(), 120)
        yield next(line for line in log.read_text().splitlines() if line.startswith("http://")).strip()
    finally:
        process.kill()
        process.wait()


def _run(installation: Installation, job: str) -> None:
    process = installation.start_job(job, None)
    output, _ = process.communicate(timeout=3600)
    assert process.returncode == 0, output


def _fill(ui: DagsterUI, days: list[str]) -> None:
    assert ui.wait_for(ui.launch(days), 3600) == "COMPLETED_SUCCESS"


def _back_up(installation: Installation) -> None:
    file = installation.folder / "soak.backup"
    file.unlink(missing_ok=True)
    done = installation.run_command("backup", str(file))
    assert done.returncode == 0, done.stderr


def _write(stop: Event, installation: Installation) -> list[float]:
    """Open the database for writing four times a second; return how long each took, in seconds."""
    waits = []
    while not stop.wait(0.25):
        begin = time.monotonic()
        with installation.database.waiting(60).write() as connection:
            connection.execute("SELECT 1")
        waits.append(time.monotonic() - begin)
    return waits


def _weigh(stop: Event, ui: DagsterUI) -> list[int]:
    """Return the resident bytes of the service's own processes, every five seconds; those of runs come and go."""
    found = []
    while not stop.wait(5):
        assert ui.process
        workers = set(ui.workers())
        found.append(sum(map(_resident, {ui.process.pid, *ui.descendants()} - workers)))
    return found


def _resident(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def _quarters(samples: list[int]) -> tuple[float, float]:
    """Return the medians of the second quarter and of the last."""
    quarter = len(samples) // 4
    return median(samples[quarter : 2 * quarter]), median(samples[3 * quarter :])


def _repeat(stop: Event, pause: float, work: Callable[[], object]) -> int:
    """Do ``work`` until the end, with a pause between; return how often."""
    count = 0
    while not stop.wait(pause):
        work()
        count += 1
    return count


def _ended(work: dict[str, Any]) -> bool:
    """Whether something has failed, so that waiting longer is in vain."""
    return any(future.done() for future in work.values())


def _runs(ui: DagsterUI, statuses: str) -> dict[str, int]:
    """Return the number of runs with these statuses, by job."""
    found: dict[str, int] = {}
    for run in ui.ask(_RUNS % statuses)["runsOrError"]["results"]:
        found[run["jobName"]] = found.get(run["jobName"], 0) + 1
    return found
