"""The demo: ninety days of a simulated board's history from its archive, then a live week, the last hour of it
through the Dagster job; with pictures, prices and labels."""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path

from bizcharts_pipeline.archive.asking import Archive
from bizcharts_pipeline.archive.days import import_day
from bizcharts_pipeline.clock import midnight, utc_now
from bizcharts_pipeline.demo.archive import SimulatedArchive
from bizcharts_pipeline.demo.board import SimulatedBoard
from bizcharts_pipeline.demo.labelling import LabelsReport, label_world
from bizcharts_pipeline.demo.price_hosts import SimulatedPrices
from bizcharts_pipeline.demo.training import TRAINING_SECONDS, TrainingReport, require_training, train_world
from bizcharts_pipeline.demo.truth import DayBesideMood, Recovery, days_beside_mood, recovery
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.errors import BizchartsError
from bizcharts_pipeline.images.fetch import fetch_pictures
from bizcharts_pipeline.index.plot import svg_plot
from bizcharts_pipeline.ingest import poll_catalog
from bizcharts_pipeline.live import LivePipeline, bring_indexes_up_to_date, run_tick
from bizcharts_pipeline.prices import rotation_from_settings, update_prices
from bizcharts_pipeline.progress import Track, silently
from bizcharts_pipeline.sentiment.champion import champion_scorer
from bizcharts_pipeline.sentiment.scoring import score_new_posts
from bizcharts_pipeline.service.jobs import job_command
from bizcharts_pipeline.settings import REPOSITORY_ROOT, Settings, load_settings
from bizcharts_pipeline.sources.images import image_client
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.overlap import Overlap, overlap_report
from bizcharts_pipeline.warehouse.previews import plotted_days
from bizcharts_pipeline.warehouse.threads import merge_threads

SEED = 2026
LIVE_DAYS = 7
POLL_EVERY = timedelta(minutes=45)
INDEX_EVERY_HOURS = 3
DAGSTER_HOURS = 1
DAGSTER_TICK_EVERY = timedelta(minutes=15)
JOB_TIMEOUT_SECONDS = 120
SHOWN_DAYS = 10
ARCHIVE_SETTLES = timedelta(hours=2)


class DemoError(BizchartsError):
    """A step of the demo failed."""


@dataclass(frozen=True)
class DemoReport:
    """What the demo made and how well it found what it should."""

    home: Path
    dagster_home: Path
    plot: Path
    days: list[DayBesideMood]
    recovery: Recovery
    archive: Overlap  # the last whole day, as the archive and the live board saw it
    pictures: dict[str, int]  # by state
    prices: int
    labels: LabelsReport
    training: TrainingReport | None  # None: it was not asked for
    seconds: float


def run_demo(settings: Settings, *, history_days: int, full: bool, track: Track) -> DemoReport:
    """Run the whole pipeline on a simulated board, in a home of its own that is made anew each time; ``full``: train
    models too, which takes minutes more.

    Raises:
        NotInstalled: training needs libraries or programs that are not here.
        DemoError: the Dagster job failed; other ``BizchartsError`` as the stages raise them.
    """
    started = time.monotonic()
    if full:
        require_training()
    home = settings.home_path / "demo"
    dagster_home = Path(os.environ.get("DAGSTER_HOME") or REPOSITORY_ROOT / "dagster_home") / "demo"
    for folder in (home, dagster_home):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    shutil.copy(REPOSITORY_ROOT / "dagster_home" / "dagster.yaml", dagster_home)

    end = utc_now().replace(minute=0, second=0, microsecond=0)
    live_from = midnight(end.date() - timedelta(days=LIVE_DAYS))
    world = World(SEED, live_from - timedelta(days=history_days), history_days + LIVE_DAYS + 1)
    with SimulatedBoard(world) as board, SimulatedArchive(world, now=end) as warosu, SimulatedPrices(now=end) as hosts:
        demo_settings = load_settings(
            home=home,
            database="",
            board=board.board,
            fourchan_api_url=board.url,
            fourchan_image_url=board.url,
            fourchan_seconds_per_request=0,
            warosu_url=warosu.url,
            warosu_image_url=warosu.image_url,
            warosu_seconds_per_request=0,
            **{f"{host}_url": hosts.url for host in ("coingecko", "binance", "coinmarketcap", "alternative_me")},
            fear_greed=settings.fear_greed,
        )
        pipeline = LivePipeline.from_settings(demo_settings)
        archive = Archive.from_settings(demo_settings)
        import_history(archive, pipeline, world.start, live_from, track)
        dagster_from = end - timedelta(hours=DAGSTER_HOURS)
        fast_forward(board, pipeline, live_from, dagster_from, track)
        ticks = DAGSTER_HOURS * 3600 // DAGSTER_TICK_EVERY.seconds
        for tick in track(range(1, ticks + 1), "The last hour, through the Dagster job `live`"):
            board.now = dagster_from + tick * DAGSTER_TICK_EVERY
            run_job("live", demo_settings, dagster_home, board.now)
        # Shortly after midnight the archive can not yet tell that yesterday is all there.
        import_day(archive, pipeline.database, (end - ARCHIVE_SETTLES).date() - timedelta(days=1), end)
        pictures = take_pictures(demo_settings, pipeline.database, end, track)
        prices = update_prices(
            pipeline.database, rotation_from_settings(demo_settings), demo_settings.price_data.coins, end
        )
    labelling = partial(run_job, "labelling", demo_settings, dagster_home, end)
    labels = label_world(world, pipeline.database, home, end, labelling)
    trained = None
    if full:

        def training(job: str, more: dict[str, str]) -> None:
            run_job(job, demo_settings, dagster_home, end, more, timeout_seconds=TRAINING_SECONDS)

        trained = train_world(pipeline.database, home, training)
    with pipeline.database.read() as connection:
        days = plotted_days(connection)
        (overlap, *_) = overlap_report(connection)
    plot = home / "index.svg"
    plot.write_text(svg_plot(days), encoding="utf-8")
    return DemoReport(
        home=home,
        dagster_home=dagster_home,
        plot=plot,
        days=days_beside_mood(world, pipeline.database, SHOWN_DAYS),
        recovery=recovery(world, pipeline.database, demo_settings.fear_greed),
        archive=overlap,
        pictures=pictures,
        prices=prices.new_rows,
        labels=labels,
        training=trained,
        seconds=time.monotonic() - started,
    )


def import_history(archive: Archive, pipeline: LivePipeline, first: datetime, until: datetime, track: Track) -> None:
    """Import the days from ``first`` to before ``until`` over HTTP, score them and compute their index."""
    days = [first.date() + timedelta(days=number) for number in range((until - first).days)]
    for day in track(days, f"{len(days)} days of history, page by page from a simulated archive"):
        import_day(archive, pipeline.database, day, until)
    score_everything(pipeline, until)


def fill_history(world: World, pipeline: LivePipeline, until: datetime, track: Track = silently) -> None:
    """Merge the archive's posts up to ``until`` as they are in the world, score them and compute their index."""
    days = [world.start + timedelta(days=day) for day in range(math.ceil((until - world.start) / timedelta(days=1)))]
    for day in track(days, f"{len(days)} days of history"):
        following = min(until, day + timedelta(days=1))
        posts = [read_thread(world.as_archive(thread)) for thread in world.threads_between(day, following)]
        with pipeline.database.write() as connection:
            merge_threads(connection, posts, ingested_at=until, seen_at=None)
    score_everything(pipeline, until)


def score_everything(pipeline: LivePipeline, now: datetime) -> None:
    """Score what waits and compute every reading up to ``now``."""
    scorer = champion_scorer(pipeline.database, pipeline.home, now)
    score_new_posts(pipeline.database, scorer, limit=None, now=now)
    bring_indexes_up_to_date(pipeline.database, scorer.model_version, now, pipeline.parameters, everything=True)


def take_pictures(settings: Settings, database: Database, now: datetime, track: Track) -> dict[str, int]:
    """Fetch the newest pictures; return how many came to which state."""
    client = image_client(
        board=settings.board,
        api_url=settings.fourchan_api_url,
        image_url=settings.fourchan_image_url,
        archive_image_url=settings.warosu_image_url,
        seconds_per_request=settings.fourchan_seconds_per_request,
        archive_seconds_per_request=settings.warosu_seconds_per_request,
    )
    with closing(client):
        report = fetch_pictures(database, settings.home_path, client, settings.images, now, track=track)
    return dict(report.counts)


def fast_forward(
    board: SimulatedBoard, pipeline: LivePipeline, begin: datetime, end: datetime, track: Track = silently
) -> None:
    """Poll the board through the simulated time from ``begin`` to ``end``; score and index every third hour."""
    times = [begin + POLL_EVERY * step for step in range(1, (end - begin) // POLL_EVERY + 1)]
    for now in track(times, f"{LIVE_DAYS} days live, a poll every {POLL_EVERY.seconds // 60} minutes over HTTP"):
        board.now = now
        if now.hour % INDEX_EVERY_HOURS == 0 and now.minute == 0:
            run_tick(pipeline, now)
        else:
            poll_catalog(pipeline.client, pipeline.spool, pipeline.database, now)


def run_job(
    job: str,
    settings: Settings,
    dagster_home: Path,
    now: datetime,
    more: Mapping[str, str] | None = None,
    *,
    timeout_seconds: int = JOB_TIMEOUT_SECONDS,
) -> None:
    """Run a Dagster job in a process of its own, as a schedule does, at the simulated time ``now``."""
    environment = os.environ | {
        "DAGSTER_HOME": str(dagster_home),
        "BIZCHARTS_HOME": str(settings.home_path),
        "BIZCHARTS_DATABASE": "",
        "BIZCHARTS_BOARD": settings.board,
        "BIZCHARTS_FOURCHAN_API_URL": settings.fourchan_api_url,
        "BIZCHARTS_FOURCHAN_IMAGE_URL": settings.fourchan_image_url,
        "BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST": "0",
        "BIZCHARTS_NOW": now.isoformat(),
        **(more or {}),
    }
    command = job_command(job)
    try:
        finished = subprocess.run(
            command, env=environment, cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=timeout_seconds
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"The Dagster job `{job}` took over {timeout_seconds} s; is the machine busy?") from None
    if finished.returncode:
        log = dagster_home / "failed-run.log"
        log.write_text(finished.stdout + finished.stderr, encoding="utf-8")
        raise DemoError(f"The Dagster job `{job}` failed at the simulated {now}; its output is in {log}")
