from datetime import datetime

import duckdb
import pytest
from samples import NOON, minute, prepared

from bizcharts_pipeline.core.rows import ScoredMention, ScoredPost
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.models import champion, ensure_lexicon_champion
from bizcharts_pipeline.warehouse.scores import (
    WaitingPost,
    certain_posts,
    save_scores,
    scored_texts,
    unscored_posts,
)
from bizcharts_pipeline.warehouse.statistics import source_statistics, table_statistics
from bizcharts_pipeline.warehouse.threads import merge_threads

Connection = duckdb.DuckDBPyConnection


def fill(connection: Connection, *texts: str | None) -> None:
    """Threads 1, 2, …, a minute apart."""
    threads = [prepared(number, text=text, posted_at=minute(number)) for number, text in enumerate(texts, start=1)]
    merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)


def scored(thread_id: int, score: float = 0.5) -> ScoredPost:
    return ScoredPost(thread_id, 0.1, 0.3, 0.6, score, 0.2, "lexicon")


def ids(posts: list[WaitingPost]) -> list[int]:
    return [post.thread_id for post in posts]


def test_the_newest_unscored_posts_come_first_until_none_is_left(connection: Connection) -> None:
    ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON)
    fill(connection, "one", None, "three")
    assert unscored_posts(connection, "lexicon-1", 2) == [
        WaitingPost(3, "", "three", None, minute(3)),
        WaitingPost(2, "", "", None, minute(2)),
    ]
    save_scores(connection, "lexicon-1", [scored(3), scored(2)], [], NOON)
    assert ids(unscored_posts(connection, "lexicon-1", 2)) == [1]
    save_scores(connection, "lexicon-1", [scored(1)], [], NOON)
    assert unscored_posts(connection, "lexicon-1", 2) == []


def test_scores_saved_again_replace_what_was_there(connection: Connection) -> None:
    ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON)
    fill(connection, "one")
    save_scores(
        connection,
        "lexicon-1",
        [scored(1)],
        [ScoredMention(1, "BTC", 1, 1), ScoredMention(1, "ETH", 1, 1)],
        NOON,
    )
    save_scores(connection, "lexicon-1", [scored(1, -0.5)], [ScoredMention(1, "BTC", -1, 1)], minute(1))
    assert connection.execute("SELECT score, scored_at FROM scored_posts").fetchall() == [(-0.5, minute(1))]
    assert connection.execute("SELECT coin_symbol, score FROM scored_mentions").fetchall() == [("BTC", -1)]
    assert connection.execute("SELECT sentiment_score, sentiment_model_version FROM thread_ops").fetchall() == [
        (-0.5, "lexicon-1")
    ]


def test_a_candidates_scores_do_not_touch_the_threads(connection: Connection) -> None:
    ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON)
    fill(connection, "one", "two")
    save_scores(connection, "candidate", [scored(2)], [], NOON)
    assert connection.execute("SELECT count(sentiment_score) FROM thread_ops").fetchall() == [(0,)]
    assert ids(unscored_posts(connection, "candidate", 9)) == [1]
    assert ids(unscored_posts(connection, "lexicon-1", 9)) == [2, 1]


def test_a_newer_lexicon_takes_over_from_an_older_one_and_scores_everything_again(
    connection: Connection,
) -> None:
    fill(connection, "one")
    assert champion(connection) is None
    assert ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON).status == "champion"
    save_scores(connection, "lexicon-1", [scored(1)], [], NOON)
    assert ensure_lexicon_champion(connection, "lexicon-2", "def", NOON).model_version == "lexicon-2"
    assert ids(unscored_posts(connection, "lexicon-2", 9)) == [1]
    ensure_lexicon_champion(connection, "lexicon-2", "def", NOON)
    assert connection.execute("SELECT model_version, status FROM model_versions ORDER BY ALL").fetchall() == [
        ("lexicon-1", "retired"),
        ("lexicon-2", "champion"),
    ]


def test_the_lexicon_never_displaces_a_trained_champion(connection: Connection) -> None:
    connection.execute("INSERT INTO model_versions (model_version, kind, status) VALUES ('q', 'qwen', 'champion')")
    assert ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON).model_version == "q"
    statuses = dict(connection.execute("SELECT model_version, status FROM model_versions").fetchall())
    assert statuses == {"q": "champion", "lexicon-1": "candidate"}


def test_statistics_count_every_table_and_date_the_posts(connection: Connection) -> None:
    fill(connection, "one", "two")
    threads = next(table for table in table_statistics(connection) if table.table == "thread_ops")
    assert (threads.rows, threads.oldest, threads.newest) == (2, minute(1), minute(2))
    (live,) = source_statistics(connection)
    assert (live.source, live.threads) == ("live", 2)
    assert isinstance(live.newest, datetime)


@pytest.mark.slow
@pytest.mark.timeout(300, method="thread")  # DuckDB's planner hears no signal; with 9,000 posts it always ended
def test_the_posts_that_drift_and_pseudo_labels_read_are_the_same_on_a_file_and_on_a_lake(either: Database) -> None:
    with either.write() as connection:
        ensure_lexicon_champion(connection, "lexicon-1", "abc", NOON)
    for first in range(0, 30_000, 10_000):
        numbers = range(first + 1, first + 10_001)
        threads = [prepared(n, text=f"post {n}", posted_at=minute(n)) for n in numbers]
        with either.write() as connection:
            merge_threads(connection, threads, ingested_at=NOON, seen_at=NOON)
            save_scores(connection, "lexicon-1", [scored(n) for n in numbers], [], NOON)
    with either.write() as connection:
        connection.execute("UPDATE thread_ops SET cluster_id = thread_id - thread_id % 10 + 1 WHERE thread_id % 10 > 0")
    start, end = minute(0), minute(100_000)
    with either.read() as connection:
        texts = scored_texts(
            connection, "lexicon-1", start, end, most_a_day=100_000, spam_cut=0.5, excluded_generals=["biz"]
        )
        sure = certain_posts(connection, "lexicon-1", 0.5, spam_cut=0.5, excluded_generals=["biz"], limit=100_000)
    assert [text.thread_id for text in texts] == [n for n in range(1, 30_001) if n % 10 in (0, 1)]
    assert sorted(sure) == [text.thread_id for text in texts]
