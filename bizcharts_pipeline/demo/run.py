"""The demo: ninety days of a simulated board's history from its archive, then three live days, the last hour through
the Dagster job; with pictures, prices and labels."""

import math
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

from bizcharts_pipeline.autolabel.providers import require_sdks
from bizcharts_pipeline.board.ingest import poll_catalog
from bizcharts_pipeline.core.clock import midnight, utc_now
from bizcharts_pipeline.core.files import remove_tree
from bizcharts_pipeline.core.progress import Track, silently
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.errors import DemoError
from bizcharts_pipeline.demo.hosts import Hosts, simulated_hosts
from bizcharts_pipeline.demo.labelling import LabelsReport, label_world
from bizcharts_pipeline.demo.training import TRAINING_SECONDS, TrainingReport, require_training, train_world
from bizcharts_pipeline.demo.truth import DayBesideMood, Recovery, days_beside_mood, recovery
from bizcharts_pipeline.demo.ui import remember_world
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.index.plot import svg_plot
from bizcharts_pipeline.index.words import in_words, notes
from bizcharts_pipeline.live import LivePipeline, bring_indexes_up_to_date, run_tick
from bizcharts_pipeline.prices.rotation import fill_daily, rotation_from_settings
from bizcharts_pipeline.scoring.champion import champion_scorer
from bizcharts_pipeline.scoring.new_posts import score_new_posts
from bizcharts_pipeline.service.jobs import FOLDER, INSTANCE_FILE, job_command
from bizcharts_pipeline.service.serve import INSTANCE_LOCK, LOCK, dagster_lock, instance_lock
from bizcharts_pipeline.settings import Settings, load_settings
from bizcharts_pipeline.text.read import read_thread
from bizcharts_pipeline.warehouse.as_of import newest_readings
from bizcharts_pipeline.warehouse.installation import Installation
from bizcharts_pipeline.warehouse.overlap import Overlap, overlap_report
from bizcharts_pipeline.warehouse.threads import merge_threads

SEED = 2026
LIVE_DAYS = 3
POLL_EVERY = timedelta(hours=1)
INDEX_EVERY_HOURS = 6
DAGSTER_HOURS = 1
DAGSTER_TICK_EVERY = timedelta(minutes=30)
ARCHIVE_JOB = "__anonymous_asset_job_warosu_daily"  # Dagster's name for the target of the schedule `warosu_daily`
DAYS_A_RUN = 45
JOB_TIMEOUT_SECONDS = 180
PICTURES_SECONDS = 600  # time limit of the job that fetches and reads pictures
SHOWN_DAYS = 10
PLOTTED_DAYS = 180
ARCHIVE_SETTLES = timedelta(hours=2)
_PICTURES = "SELECT status, count(*) FROM thumbnails GROUP BY ALL"


@dataclass(frozen=True)
class DemoReport:
    """Results of the demo, and how well the index recovered the hidden mood."""

    home: Path
    dagster_home: Path
    plot: Path
    days: list[DayBesideMood]
    notes: list[str]  # explanations of the table of days
    recovery: Recovery
    archive: Overlap  # the last complete day, compared between archive and live board
    pictures: dict[str, int]  # counts by status
    prices: int
    labels: LabelsReport
    training: TrainingReport | None  # None: not requested
    seconds: float


def run_demo(settings: Settings, *, history_days: int, full: bool, track: Track) -> DemoReport:
    """Run the whole pipeline on a simulated board, in a separate home that is recreated each time. ``full`` also trains
    models, which takes minutes more.

    Raises:
        SdkMissing: the extra ``auto-labels`` is not installed.
        NotInstalled: libraries or programs needed for training are missing.
        DemoError: the Dagster job failed; other ``BizchartsError`` as the stages raise them.
        ServiceError: another process is making or showing the demo in this home or ``DAGSTER_HOME``.
    """
    require_sdks(("openai", "gemini"))
    if full:
        require_training()
    home = settings.home_path / "demo"
    home.mkdir(parents=True, exist_ok=True)
    dagster_home = Path(os.environ.get("DAGSTER_HOME") or FOLDER) / "demo"
    dagster_home.mkdir(parents=True, exist_ok=True)
    with instance_lock(home), dagster_lock(dagster_home, home):
        return _run_demo(settings, home, dagster_home, history_days, track, full=full)


def _run_demo(
    settings: Settings, home: Path, dagster_home: Path, history_days: int, track: Track, *, full: bool
) -> DemoReport:
    started = time.monotonic()
    _clear(home)
    Installation(home, home / "bizcharts.duckdb").forget()
    _clear(dagster_home)
    shutil.copy(FOLDER / INSTANCE_FILE, dagster_home)

    end = utc_now().replace(minute=0, second=0, microsecond=0)
    if end.hour == 0:  # else the table would show a day that has only just begun beside one that is not final
        end -= timedelta(hours=1)
    live_from = midnight(end.date() - timedelta(days=LIVE_DAYS))
    days = history_days + LIVE_DAYS + 1
    world = World(SEED, live_from - timedelta(days=history_days), days)
    with simulated_hosts(world, end) as hosts:
        demo_settings = load_settings(**hosts.settings(home), fear_greed=settings.fear_greed)
        job = partial(run_job, hosts=hosts, home=home, dagster_home=dagster_home)
        pipeline = LivePipeline.from_settings(demo_settings)
        for first in track(
            range(0, history_days, DAYS_A_RUN), f"{history_days} days of history, page by page from a simulated archive"
        ):
            last = min(first + DAYS_A_RUN, history_days) - 1
            begin = world.start.date()
            import_days(job, begin + timedelta(days=first), begin + timedelta(days=last), live_from)
        score_everything(pipeline, live_from)
        dagster_from = end - timedelta(hours=DAGSTER_HOURS)
        fast_forward(hosts.board, pipeline, live_from, dagster_from, track)
        ticks = DAGSTER_HOURS * 3600 // DAGSTER_TICK_EVERY.seconds
        for tick in track(range(1, ticks + 1), "The last hour, through the Dagster job `live`"):
            job("live", dagster_from + tick * DAGSTER_TICK_EVERY)
        # Shortly after midnight, the archive cannot yet confirm that yesterday is complete.
        settled = (end - ARCHIVE_SETTLES).date() - timedelta(days=1)
        import_days(job, settled, settled, end)
        for _ in track(range(1), "Pictures, through the Dagster job `fetch_thumbnails`"):
            job("fetch_thumbnails", end, timeout_seconds=PICTURES_SECONDS)
        job("fetch_prices", end)
        rotation, coins = rotation_from_settings(demo_settings), demo_settings.price_data.coins
        fill_daily(pipeline.database, rotation, coins, world.start.date(), end.date(), end)
        labels = label_world(world, pipeline.database, home, end, lambda more: job("labelling", end, more=more))
    trained = None
    if full:

        def training(name: str, more: dict[str, str]) -> None:
            job(name, end, more=more, timeout_seconds=TRAINING_SECONDS)

        trained = train_world(pipeline.database, home, training)
    with pipeline.database.read() as connection:
        drawn = newest_readings(connection, "day", PLOTTED_DAYS)[::-1]
        (overlap, *_) = overlap_report(connection)
        pictures = dict(connection.execute(_PICTURES).fetchall())
        (prices,) = connection.execute("SELECT count(*) FROM coin_prices").fetchone() or (0,)
    plot = home / "index.svg"
    caption = in_words(drawn[-1], settings.fear_greed) if drawn else ""
    plot.write_text(svg_plot(drawn, caption=caption), encoding="utf-8")
    remember_world(home, world, days)  # last, so that an interrupted demo does not count as finished
    return DemoReport(
        home=home,
        dagster_home=dagster_home,
        plot=plot,
        days=days_beside_mood(world, pipeline.database, settings.fear_greed, SHOWN_DAYS, end),
        notes=notes(drawn[: -SHOWN_DAYS - 1 : -1], settings.fear_greed),
        recovery=recovery(world, pipeline.database),
        archive=overlap,
        pictures=pictures,
        prices=prices,
        labels=labels,
        training=trained,
        seconds=time.monotonic() - started,
    )


def _clear(folder: Path) -> None:
    """Remove everything from a folder of the demo except the held lock."""
    for path in folder.iterdir():
        if path.name not in (LOCK, INSTANCE_LOCK):
            remove_tree(path)


def import_days(job: Callable[..., None], first: date, last: date, now: datetime) -> None:
    """Import the simulated archive's days from ``first`` to ``last`` in one Dagster run, like a backfill."""
    tags = {"dagster/asset_partition_range_start": f"{first}", "dagster/asset_partition_range_end": f"{last}"}
    job(ARCHIVE_JOB, now, tags=tags)


def fill_history(world: World, pipeline: LivePipeline, until: datetime, track: Track = silently) -> None:
    """Merge the simulated archive's posts up to ``until`` directly from the world, score them and compute their
    index."""
    days = [world.start + timedelta(days=day) for day in range(math.ceil((until - world.start) / timedelta(days=1)))]
    for day in track(days, f"{len(days)} days of history"):
        following = min(until, day + timedelta(days=1))
        posts = [read_thread(world.as_archive(thread)) for thread in world.threads_between(day, following)]
        with pipeline.database.write() as connection:
            merge_threads(connection, posts, ingested_at=until, seen_at=None)
    score_everything(pipeline, until)


def score_everything(pipeline: LivePipeline, now: datetime) -> None:
    """Score all unscored posts of the demo and compute every reading up to ``now``."""
    scorer = champion_scorer(pipeline.database, pipeline.place, now)
    score_new_posts(pipeline.database, scorer, limit=None, now=now)
    bring_indexes_up_to_date(pipeline.database, scorer, now, pipeline.parameters, everything=True)


def fast_forward(
    board: SimulatedBoard, pipeline: LivePipeline, begin: datetime, end: datetime, track: Track = silently
) -> None:
    """Poll the board every simulated hour from ``begin`` to ``end``; score and index every sixth hour."""
    times = [begin + POLL_EVERY * step for step in range(1, (end - begin) // POLL_EVERY + 1)]
    for now in track(times, f"{LIVE_DAYS} days live, a poll every simulated hour over HTTP"):
        board.now = now
        if now.hour % INDEX_EVERY_HOURS == 0 and now.minute == 0:
            run_tick(pipeline, now)
        else:
            poll_catalog(pipeline.client, pipeline.spool, pipeline.database, now)


def run_job(
    job: str,
    now: datetime,
    *,
    hosts: Hosts,
    home: Path,
    dagster_home: Path,
    tags: Mapping[str, str] | None = None,
    more: Mapping[str, str] | None = None,
    timeout_seconds: int = JOB_TIMEOUT_SECONDS,
) -> None:
    """Run a Dagster job in its own process, like a schedule, at the simulated time ``now``, which becomes the board's.

    Raises:
        DemoError: it failed or timed out; the message names the log.
    """
    hosts.board.now = now  # a job may check its clock by the board's
    environment = hosts.environment(home, dagster_home) | {"BIZCHARTS_NOW": now.isoformat(), **(more or {})}
    try:
        finished = subprocess.run(
            job_command(job, tags),
            env=environment,
            cwd=FOLDER,
            capture_output=True,
            text=True,
            timeout=timeout_seconds,
        )
    except subprocess.TimeoutExpired:
        raise DemoError(f"The Dagster job `{job}` took over {timeout_seconds} s; is the machine busy?") from None
    if finished.returncode:
        log = dagster_home / "failed-run.log"
        log.write_text(finished.stdout + finished.stderr, encoding="utf-8")
        raise DemoError(f"The Dagster job `{job}` failed at the simulated {now}; its output is in {log}")
