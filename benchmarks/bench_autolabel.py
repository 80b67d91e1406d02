"""Overhead of the labelling loop, compared with a bare loop over the same SDK, against the same service on loopback.

The service runs in its own process, so that its CPU time is not counted.
"""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path

from benchmarks.measure import Row
from bizcharts_pipeline.autolabel.budget import Caps
from bizcharts_pipeline.autolabel.cost import Size, terms
from bizcharts_pipeline.autolabel.keys import Inquiry, Run, Version
from bizcharts_pipeline.autolabel.ledger import LEDGER, AutoLabelLedger
from bizcharts_pipeline.autolabel.prompt import load_prompt
from bizcharts_pipeline.autolabel.protocol import Answer, Outcome, Provider
from bizcharts_pipeline.autolabel.providers import open_providers
from bizcharts_pipeline.autolabel.questions import question_text
from bizcharts_pipeline.autolabel.run import Labelling
from bizcharts_pipeline.core.rows import PreparedThread, SourceThread
from bizcharts_pipeline.settings import REPOSITORY_ROOT, Settings
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.threads import merge_threads

POSTS = 400
THREADS = 8
NOON = datetime(2026, 3, 1, 12)
_SERVICE = """
import sys, time
from bizcharts_pipeline.demo.label_apis.server import SimulatedLabelApis
with SimulatedLabelApis() as apis:
    apis.latency_seconds = float(sys.argv[1])
    print(apis.openai_url, flush=True)
    sys.stdin.read()
"""


def rows() -> Iterator[Row]:
    """Yield requests per second and this process's CPU time per request, for both loops."""
    for latency in (0.0, 0.2):
        with tempfile.TemporaryDirectory() as folder, _service(latency):
            labelling = _labelling(Path(folder))
            bare = _measured(lambda labelling=labelling: _bare_loop(labelling))
            ours = _measured(lambda labelling=labelling: _our_loop(labelling))
            name = f"{latency * 1000:.0f} ms service, {THREADS} threads"
            yield f"bare SDK loop, {name}", POSTS / bare[0], "requests/s", f"{bare[1] / POSTS * 1000:.2f} ms CPU each"
            yield (
                f"labelling loop, {name}",
                POSTS / ours[0],
                "requests/s",
                f"{ours[1] / POSTS * 1000:.2f} ms CPU each; {ours[0] / bare[0]:.2f} times the bare loop's time",
            )
    yield "ledger, claim and record", _ledger_seconds() * 1000, "ms", "two commits that survive a power failure"


def _bare_loop(labelling: Labelling) -> None:
    (provider,) = labelling.providers.values()
    asked, prompt = _as_provider(provider), load_prompt("stance-v1")
    version = Version.of(provider, prompt)
    questions = [version.question(question_text(None, f"bare {number}"), None) for number in range(POSTS)]
    with ThreadPoolExecutor(THREADS) as pool:
        outcomes = set(pool.map(lambda question: asked.ask(prompt, question).outcome, questions))
    assert outcomes == {Outcome.OK}


def _our_loop(labelling: Labelling) -> None:
    report = labelling.label_posts()
    assert report.run.known_requests == POSTS, report


def _as_provider(provider: object) -> Provider:
    assert hasattr(provider, "ask")
    return provider  # type: ignore[return-value]


def _measured(work: object) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    assert callable(work)
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - cpu


def _labelling(home: Path) -> Labelling:
    settings = Settings.model_validate(
        {
            "home": home,
            "auto_labels": {"per_run": POSTS, "most_at_once": THREADS},
            "openai": {"requests_per_minute": 1_000_000, "requests_per_day": 1_000_000},
        }
    )
    database = Database.from_settings(settings)
    with database.write() as connection:
        threads = [
            PreparedThread(
                SourceThread(number, NOON - timedelta(minutes=number), "live", op_html=f"ours {number}"),
                f"ours {number}",
                None,
                0.0,
                (),
            )
            for number in range(1, POSTS + 1)
        ]
        merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)
    labelling = Labelling(database, home, settings, open_providers(settings), lambda: NOON)
    (provider,) = labelling.providers.values()
    version = Version.of(provider, load_prompt("stance-v1"))
    with ThreadPoolExecutor(THREADS) as pool:  # set up connections and lazy imports before timing
        warm = [version.question(question_text(None, f"warm {number}"), None) for number in range(4 * THREADS)]
        list(pool.map(lambda question: _as_provider(provider).ask(load_prompt("stance-v1"), question), warm))
    return labelling


def _ledger_seconds() -> float:
    version, run, size = Version("openai", "m", "chat", "v", "0" * 64), Run("r", NOON), Size(100, False, 10, 1.0)
    settings = Settings.model_validate({"openai": {"requests_per_minute": 10**6, "requests_per_day": 10**6}})
    known, caps = terms(settings, "openai", "chat", NOON.date()), Caps(10**15, 10**15)
    with tempfile.TemporaryDirectory() as folder, AutoLabelLedger(Path(folder) / LEDGER) as ledger:
        questions = [version.question(str(number), None) for number in range(POSTS)]
        ledger.register(version, [Inquiry(number, (each,)) for number, each in enumerate(questions)], NOON)
        started = time.perf_counter()
        for question in questions:
            reservation = ledger.claim(question.key, version, run, size, known, caps, time.time())
            assert reservation is not None
            answer = Answer(Outcome.OK, label="neutral")
            ledger.record(question.key, version, reservation, answer, known, "done", NOON)
        return (time.perf_counter() - started) / POSTS


class _service:
    """The label APIs in their own process; sets OPENAI_BASE_URL to them."""

    def __init__(self, latency: float) -> None:
        self._latency = latency

    def __enter__(self) -> None:
        command = [sys.executable, "-c", _SERVICE, str(self._latency)]
        self._process = subprocess.Popen(
            command, cwd=REPOSITORY_ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        self._before = {name: os.environ.get(name) for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY")}
        os.environ["OPENAI_BASE_URL"] = self._process.stdout.readline().strip()
        os.environ["OPENAI_API_KEY"] = "loopback"

    def __exit__(self, *error: object) -> None:
        for name, value in self._before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
        self._process.communicate(timeout=10)
