"""The stages of the pipeline, in the order in which the harness of the fault matrix runs them on one small world."""

from dataclasses import dataclass
from datetime import datetime, timedelta

START = datetime(2026, 2, 20)
NOW = datetime(2026, 3, 2, 12, 0)
DAYS = 12
THREADS_A_DAY = 60.0
BOARD_THREADS = 40  # each has a picture, which takes its time
IMPORTED = (NOW.date() - timedelta(days=5), NOW.date() - timedelta(days=2))
LABELS, BACKUP, COPY = "labels.jsonl", "backup.tar", "copy.duckdb"
OLD, OLD_VERSION = "old", 6  # the home of an earlier version, with its last migration
SPARSE = "sparse"  # the home of an installation whose database is half empty
RELEASES = "someone/models"  # the repository that models are released to
VISION, VISION_POSTS = "vision", 24  # the home of an installation whose champion is on a server, and its posts


@dataclass(frozen=True)
class Stage:
    """One stage: assets to materialise in one Dagster run, words of the command line, or a function of
    :mod:`faults.programs`.

    ``place`` in a word stands for the folder of the installation. ``network``: it asks a host. ``home``: where it works
    in that folder. ``copy``: a database that it writes there. ``postpones``: a run that succeeds may leave work to the
    next one.
    """

    name: str
    assets: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    program: str | None = None
    partitions: tuple[str, ...] = ()
    network: bool = False
    home: str = "home"
    copy: str | None = None
    postpones: bool = False


STAGES = (
    Stage("archive import", ("warosu_posts",), partitions=tuple(f"{day}" for day in IMPORTED), network=True),
    Stage("poll", ("catalog_snapshot",), network=True),
    Stage("thumbnails", ("thumbnails",), network=True),
    Stage("image features", ("image_features",)),
    Stage("scoring", ("scored_posts",)),
    Stage("vision scoring", ("scored_posts",), network=True, home=VISION, postpones=True),
    Stage("model release", ("model_release",), network=True, home=VISION),
    Stage("index", ("fear_greed_index", "coin_sentiment")),
    Stage("prices", ("coin_prices",), network=True),
    Stage("reference index", ("reference_index",), network=True),
    Stage("label import", command=("labels", "import", f"{{place}}/{LABELS}")),
    Stage("human labels", ("human_labels",)),
    Stage("auto-labels", ("auto_labels",), network=True),
    Stage("label queue", ("label_queue",)),
    Stage("labeller", program="label"),
    Stage("data set", ("sharegpt_dataset",)),
    Stage("training", ("tfidf_model",)),
    Stage("evaluation", ("model_evaluation",)),
    Stage("promotion", ("champion_model",)),
    Stage("drift report", ("drift_report",)),
    Stage("exports", ("index_exports",)),
    Stage("alerts", ("alerts",), network=True),
    Stage("maintenance", ("maintenance",)),
    Stage("compaction", program="compact", home=SPARSE),
    Stage("backup", command=("backup", "--images", f"{{place}}/{BACKUP}")),
    Stage("restore", command=("restore", f"{{place}}/{BACKUP}")),
    Stage("snapshot", command=("snapshot", f"{{place}}/{COPY}"), copy=COPY),
    Stage("migrations", command=("stats",), home=OLD),
)
BY_NAME = {stage.name: stage for stage in STAGES}
