"""A database as the pipeline leaves it, with strangers' text in every place where a stranger can put some."""

import random
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import duckdb
from published_rows import CoinRow, IndexRow, insert_coins, insert_index

from bizcharts_pipeline.core.rows import Mention, PreparedThread, ScoredPost, SourceThread
from bizcharts_pipeline.index.readings import label_of
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.drift_reports import VERDICT, DriftRow, append_report
from bizcharts_pipeline.warehouse.model_evaluations import Decision, EvaluationRow, append_decisions, save_evaluations
from bizcharts_pipeline.warehouse.model_previews import HELD, SWITCHED, ModelPreview, append_preview
from bizcharts_pipeline.warehouse.models import ModelVersion, register_candidate
from bizcharts_pipeline.warehouse.prices import merge_prices
from bizcharts_pipeline.warehouse.scores import save_scores
from bizcharts_pipeline.warehouse.snapshots import record_poll
from bizcharts_pipeline.warehouse.threads import merge_threads
from bizcharts_pipeline.warehouse.values import literal

NOW = datetime(2026, 3, 10, 12, 30)
BUSY_HOUR = datetime(2026, 3, 10, 11)  # its posts are the hostile ones
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
DAYS = 40
MODEL = "lexicon-1"
HOSTILE_NAME = "m:red[x]<b>$1$"  # of a model and a labeller
HOSTILE = (
    "<script>window.attacked = 1</script>",
    '"><img src=x onerror="window.attacked = 1">',
    "[click](javascript:alert(1)) ![x](https://evil.example/p.png)",
    "$\\frac{1}{2}$ and $$x$$",
    ":material/warning: :red[blood] :smile: :blue-badge[x]",
    "https://evil.example www.evil.example mail@evil.example",
    "\u202egnp.exe\u202c \u200fabc\u2066 \ufeff",
    "# head\n- list\n> quote\n```code```\n| a | b |",
    "<style>* { display: none }</style></div></div><iframe src=//evil.example>",
    "<!-- --> &lt;b&gt; {{7*7}} ${7*7} <%= 7 %>",
    "Z" + "\u0301" * 500 + "algo",
    "\x1b[31mred\x07",
    "A" * 100_000,
)


class Price(NamedTuple):
    coin_symbol: str
    at: datetime
    usd: Decimal
    source: str


def value_at(start: datetime) -> float:
    """The index of an hour: 30 on the last day, else a walk from 20 to 80."""
    if start >= NOW - DAY:
        return 30.0
    return 20 + 60 * ((start - datetime(2026, 1, 1)) / HOUR % 97) / 97


def fill(home: Path) -> DatabaseFile:
    """Make the database: forty days of hours and days, three coins, prices, posts, models, polls and labels."""
    home.mkdir(parents=True, exist_ok=True)
    database = DatabaseFile(home / "bizcharts.duckdb", 20)
    first = NOW.replace(hour=0, minute=0) - DAYS * DAY
    hours = [first + place * HOUR for place in range(int((NOW - first) / HOUR) + 1)]
    with database.write() as connection:
        insert_index(connection, map(hour_row, hours))
        insert_coins(connection, (row for place in range(DAYS + 1) for row in _coins(first + place * DAY, "day", DAY)))
        insert_coins(connection, (row for start in hours[-100:] for row in _coins(start, "hour", HOUR)))
        merge_prices(connection, [Price("BTC", at, Decimal(40_000 + place), "test") for place, at in enumerate(hours)])
        _add_posts(connection)
        _add_models(connection)
        connection.execute(
            "INSERT INTO training_labels BY NAME SELECT 1 AS thread_id, 3 AS sentiment_rating, "
            f"{literal(HOSTILE_NAME)} AS labeler_id, {literal(NOW)} AS labeled_at, FALSE AS skipped"
        )
    return database


def hour_row(start: datetime, **more: Any) -> IndexRow:
    """An hour that was computed as it ended; the running one is provisional."""
    end, value = start + HOUR, value_at(start)
    running = end > NOW
    computed = NOW if running else end + timedelta(minutes=3)
    fields = {
        "bucket_start": start,
        "computed_at": computed,
        "knowable_at": min(computed, end + timedelta(seconds=30)),
        "value": value,
        "label": label_of(value),
        "final": not running,
        "model_version": MODEL,
    }
    return IndexRow(**fields | more)


def _coins(start: datetime, bucket: str, length: timedelta) -> list[CoinRow]:
    """BTC: sure and slightly bullish. ETH: bearish. DOGE: its mean is the highest, of a few posts."""
    computed = min(start + length + timedelta(minutes=3), NOW)
    return [
        CoinRow("BTC", start, computed, computed, 0.15, 50, bucket, n_eff=40),
        CoinRow("ETH", start, computed, computed, -0.3, 20, bucket),
        CoinRow("DOGE", start, computed, computed, 0.2, 2, bucket),
    ]


def drift_rows() -> list[DriftRow]:
    """A standing alarm on the champion, with a stranger's word among those that rose."""
    at, day = NOW - HOUR, (NOW - DAY).date()
    terms = [{"term": HOSTILE[0], "posts": 9, "before": 0, "z": 4.2, "examples": [1000]}]
    verdict = {"by": ["domain", "confidence"], "running": [], "since": "2026-03-05", "raised": "2026-03-09"}
    return [
        DriftRow(day, MODEL, "domain", 0.8, None, None, 0.55, 0.66, True, 700, {}, at),
        DriftRow(day, MODEL, "unknown words", 0.06, 0.05, 0.07, 0.05, 0.1, False, 700, {"rising_terms": terms}, at),
        DriftRow(day, MODEL, "labels", None, None, None, None, None, False, 3, {"reason": "too few"}, at),
        DriftRow(
            day, MODEL, VERDICT, 1, None, None, None, None, True, 700, verdict | {"false_alarms_a_month": 0.075}, at
        ),
    ]


def _add_posts(connection: duckdb.DuckDBPyConnection) -> None:
    texts = dict(enumerate(HOSTILE, 1000))
    prepared = [
        PreparedThread(
            SourceThread(number, BUSY_HOUR + timedelta(minutes=place), "live", subject=text[:100], reply_count=3),
            text,
            None,
            0.0,
            (Mention("BTC", 0.9, "text", ""),),
        )
        for place, (number, text) in enumerate(texts.items())
    ]
    quiet = PreparedThread(
        SourceThread(999, BUSY_HOUR - 5 * HOUR, "warosu", subject="Quiet <b>morning</b>"),
        "nothing happens",
        None,
        0.0,
        (),
    )
    old = PreparedThread(SourceThread(998, NOW - 3 * DAY, "warosu", subject="old"), "wagmi", None, 0.0, ())
    merge_threads(connection, [*prepared, quiet, old], ingested_at=BUSY_HOUR + HOUR, seen_at=BUSY_HOUR + HOUR)
    record_poll(
        connection,
        snapshot_at=BUSY_HOUR + HOUR + timedelta(minutes=29),
        last_modified=None,
        threads=prepared,
        rejected=1,
        ingested_at=NOW,
    )
    scores = [
        ScoredPost(number, 0.7, 0.2, 0.1, -0.6, random.Random(number).random(), "lexicon")
        for number in (998, 999, *texts)
    ]
    save_scores(connection, MODEL, scores, [], BUSY_HOUR + HOUR)


def _add_models(connection: duckdb.DuckDBPyConnection) -> None:
    for version, kind, day in ((MODEL, "lexicon", 1), (HOSTILE_NAME, "tfidf", 2)):
        at = datetime(2026, 2, day)
        register_candidate(
            connection, ModelVersion(version, kind, None, "d" * 64, at, 0.61, 0.55, "candidate", "models/x", "0" * 64)
        )
    connection.execute(f"UPDATE model_versions SET status = 'champion' WHERE model_version = {literal(MODEL)}")
    measured = datetime(2026, 2, 3)
    figures = (0.61, 0.53, 0.69, 0.55, 0.47, 0.63, 0.5, 0.5, 0.5, 0.04, 0.865)
    confusion = ((10, 5, 2), (4, 20, 6), (1, 5, 12))
    save_evaluations(connection, [EvaluationRow(HOSTILE_NAME, "g" * 64, 150, *figures, confusion, measured)])
    append_report(connection, drift_rows())
    shown = {"posts": 900, "class_changed": 0.31, "mean_old": 0.01, "mean_new": -0.02, "value_old": 24.0}
    shown |= {"value_new": 51.4, "shift": 27.4, "shift_lo": 20.1, "shift_hi": 33.0, "stance_old": 0.0}
    most = ({"thread_id": 1, "old": 0.5, "new": -0.5},)
    append_preview(connection, ModelPreview(datetime(2026, 2, 2), MODEL, "lexicon-0", SWITCHED, "upgraded"))
    waits = ModelPreview(measured, HOSTILE_NAME, MODEL, HELD, None, **shown, changed_most=most)
    append_preview(connection, waits)
    append_decisions(
        connection,
        [Decision(HOSTILE_NAME, MODEL, "g" * 64, False, "gate", "no better <i>here</i>", measured, bootstrap_p=0.21)],
    )
