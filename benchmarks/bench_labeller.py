"""Latency of the labeller: from a key press to the next post, in headless Chromium, with a million opening posts."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from io import BytesIO
from pathlib import Path
from statistics import median, quantiles
from typing import TYPE_CHECKING

from benchmarks.measure import Row, ratio
from bizcharts_pipeline.images.store import PictureStore
from bizcharts_pipeline.labels.ledger import LEDGER, Label, LabelLedger
from bizcharts_pipeline.labels.offers import OfferFilters
from bizcharts_pipeline.settings import REPOSITORY_ROOT, load_settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

if TYPE_CHECKING:
    from playwright.sync_api import Page

POSTS = 1_000_000
PICTURES = 50
LABELLED = 2_000  # before the session
KEYS = 100

_FILL = f"""
INSERT INTO thread_ops BY NAME
SELECT 50_000_000 + 7 * i AS thread_id, TIMESTAMP '2023-01-01' + to_seconds(90 * i) AS posted_at,
       CASE WHEN i % 3 = 0 THEN 'subject ' || i END AS subject,
       repeat('the chart looks like a staircase ' || i || chr(10), 1 + i % 12) AS op_text_clean,
       'https://i.4cdn.org/biz/' || i || '.jpg' AS image_url,
       CASE WHEN i % 5 = 0 THEN 'live' ELSE 'warosu' END AS source,
       TIMESTAMP '2026-01-01' AS ingested_at, TIMESTAMP '2026-01-01' AS text_known_at
FROM range({POSTS}) AS r(i)
"""
_FILL_PICTURES = """
INSERT INTO thumbnails BY NAME
SELECT thread_id, 'thumbnail' AS kind, 'stored' AS status, p.path, p.sha256, 'image/jpeg' AS media_type, 0.01 AS nsfw,
       1 AS attempts
FROM thread_ops JOIN (SELECT unnest({paths}) AS path, unnest({hashes}) AS sha256, unnest(range({count})) AS number) AS p
ON p.number = thread_id % {count}
"""
_WATCH = """() => {
    window.taken = { key: [], shown: [], painted: [] };
    let pressed = 0;
    addEventListener("keydown", (event) => { pressed = event.timeStamp; }, true);
    new MutationObserver(() => {
        taken.shown.push(performance.now() - pressed);
        requestAnimationFrame(() => {
            const channel = new MessageChannel();
            channel.port1.onmessage = () => taken.painted.push(performance.now() - pressed);
            channel.port2.postMessage(0);
        });
    }).observe(document.body, { attributes: true, attributeFilter: ["data-thread"] });
}"""
_FLOOR = """async (body) => {
    const started = performance.now();
    const response = await fetch("/nothing", { method: "POST", body,
        headers: { "Content-Type": "application/json", "X-BizCharts-CSRF": window.csrf } });
    await response.json();
    return performance.now() - started;
}"""


def rows() -> Iterator[Row]:
    """Yield the figures; the lower bound is measured alternately with the keys."""
    from playwright.sync_api import sync_playwright

    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if chromium is None:
        raise SystemExit("There is no Chromium; install the system's package chromium.")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        _fill(home)
        started = time.perf_counter()
        command = [sys.executable, "-m", "benchmarks.bench_labeller", folder]
        with (
            subprocess.Popen(command, cwd=REPOSITORY_ROOT, stdout=subprocess.PIPE, text=True) as server,
            sync_playwright() as playwright,
        ):
            try:
                assert server.stdout
                address = server.stdout.readline().strip()
                browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
                page = browser.new_page(viewport={"width": 1280, "height": 720})
                page.goto(address)
                page.wait_for_selector('body[data-state="ready"]', timeout=60_000)
                seconds = time.perf_counter() - started
                shown, painted, floor = _press(page)
                memory = int(_status(server.pid)["VmHWM"].split()[0]) / 1024
                browser.close()
            finally:
                server.kill()
    note = f"goal 50 ms; p95 {quantiles(shown, n=20)[-1]:.0f} ms; over the request that does nothing"
    yield "labeller, key to next post", median(shown), "ms", note, ratio(shown, floor)
    yield "labeller, key to its first frame", median(painted), "ms", "on a screen of 60 Hz a frame is 17 ms"
    yield "request that does nothing", median(floor), "ms", "lower bound: same page, server, checks and response"
    yield "labeller, start to first post", seconds, "s", f"{POSTS:,} posts, including the start of Chromium"
    yield "labeller, peak memory", memory, "MB", "of the server's process"


def _press(page: "Page") -> tuple[list[float], list[float], list[float]]:
    """Press keys like a person, each when the post is shown. Return milliseconds."""
    page.evaluate(_WATCH)
    page.evaluate("async () => { window.csrf = (await (await fetch('/api/labeller/sitting')).json()).csrf; }")
    floor = []
    for number in range(KEYS):
        page.wait_for_selector('body[data-state="ready"]')
        page.wait_for_timeout(50)
        floor.append(page.evaluate(_FLOOR, '{"thread_id": 1}'))
        before = page.get_attribute("body", "data-thread")
        page.keyboard.press(str(number % 3 + 1))
        page.wait_for_selector(f'body:not([data-thread="{before}"])')
    page.wait_for_timeout(200)
    taken = page.evaluate("window.taken")
    return taken["shown"], taken["painted"], floor


def _fill(home: Path) -> None:
    from PIL import Image

    hashes, paths = [], []
    for number in range(PICTURES):
        file = BytesIO()
        Image.effect_noise((250, 200), 10 + number).save(file, "JPEG")
        hashes.append(hashlib.sha256(file.getvalue()).hexdigest())
        paths.append(PictureStore(home).put(hashes[-1], "image/jpeg", file.getvalue()))
    with DatabaseFile(home / "bizcharts.duckdb").write() as connection:
        connection.execute(_FILL)
        connection.execute(_FILL_PICTURES.format(paths=paths, hashes=hashes, count=PICTURES))
    earlier = [Label(50_000_000 + 7 * i, i % 3 + 1, "ann", datetime(2026, 1, 1), 3.0) for i in range(LABELLED)]
    LabelLedger(home / LEDGER).append(earlier)


def _status(pid: int) -> dict[str, str]:
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _serve(home: Path) -> None:
    """Serve the labeller with an additional endpoint that only returns a response of the usual size."""
    import socket

    import uvicorn
    from starlette.requests import Request
    from starlette.responses import Response

    from bizcharts_pipeline.web.app import labeller_app
    from bizcharts_pipeline.web.auth import Access
    from bizcharts_pipeline.web.reader import Reader
    from bizcharts_pipeline.web.session import LabelSession

    settings = load_settings(home=home)
    ledger = LabelLedger(home / LEDGER)
    session = LabelSession(settings, OfferFilters("ann", "bench"), ledger)
    listener = socket.create_server(("127.0.0.1", 0))
    access = Access(listener.getsockname()[1])
    app = labeller_app(session, access)
    answer = ('{"upcoming": "' + "x" * 5000 + '"}').encode()

    async def nothing(request: Request) -> Response:
        return Response(answer, media_type="application/json")

    app.add_route("/nothing", nothing, methods=["POST"])
    Reader(session, Database.from_settings(settings)).start()
    print(access.address, flush=True)
    with ledger.kept_open():
        uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False, lifespan="off")).run([listener])


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))
