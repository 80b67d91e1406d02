"""Imports of labels: no foreign scale is taken for ours, no row is guessed, and an import can be undone."""

import json
import re
import sqlite3
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from labelled_world import NOW, LabelledWorld, real_labels

from bizcharts_pipeline.core.sqlite_seal import forget
from bizcharts_pipeline.labels.gold import extend_gold
from bizcharts_pipeline.labels.importing import ImportReport
from bizcharts_pipeline.labels.ledger import LEDGER, GoldPost, Label, LabelLedger, LedgerError
from bizcharts_pipeline.labels.projection import materialise_labels
from bizcharts_pipeline.labels.scales import ScaleError, missing_end, parse_scale
from bizcharts_pipeline.labels.statistics import ledger_statistics
from bizcharts_pipeline.labels.transfer import export_labels, import_labels
from bizcharts_pipeline.labels.transfer_rows import LabelFileError
from bizcharts_pipeline.labels.undoing import undo_import
from bizcharts_pipeline.legacy.legacy_import import LegacyImportReport, import_posts_db
from bizcharts_pipeline.settings import LabellingSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile

IMPORTED = datetime(2026, 3, 2)
HEADER = "thread_id,sentiment_rating,labeler_id,labeled_at\n"
TABLE = (
    "CREATE TABLE training_labels (id INTEGER PRIMARY KEY, thread_id, sentiment_rating, skipped, notes, labeler_id, "
    "labeled_at, text_snapshot, image_url_snapshot); CREATE TABLE thread_ops (thread_id INTEGER, created_at TEXT)"
)
DOORS = ("csv", "jsonl", "sql", "db")
Row = tuple[Any, Any, str, str]  # thread, rating, labeller, time


def rows_of(ratings: Sequence[Any], labeller: str = "ann") -> list[Row]:
    return [(61_000_000 + n, rating, labeller, f"2026-03-01T12:00:{n:02}") for n, rating in enumerate(ratings)]


def bring(
    home: Path, door: str, rows: Sequence[Row], scale: str | None = None, name: str = "a"
) -> ImportReport | LegacyImportReport:
    """Import ``rows`` as a file of this kind."""
    file, named = home / f"{name}.{door}", parse_scale(scale) if scale else None
    file.unlink(missing_ok=True)
    insert = "INSERT INTO training_labels (thread_id, sentiment_rating, labeler_id, labeled_at) VALUES (?, ?, ?, ?)"
    with sqlite3.connect(file if door == "db" else ":memory:") as original:
        original.executescript(TABLE)
        original.executemany(insert, rows)
        original.commit()
        dump = "\n".join(original.iterdump())
    original.close()
    if door == "db":
        return import_posts_db(file, DatabaseFile(home / "a.duckdb"), home, "biz", IMPORTED, scale=named)
    names = HEADER.strip().split(",")
    content = {
        "csv": HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows),
        "jsonl": "".join(json.dumps(dict(zip(names, row, strict=True))) + "\n" for row in rows),
        "sql": dump,
    }[door]
    file.write_text(content)
    return import_labels(file, ledger_of(home), home / "aside", scale=named, now=IMPORTED)


def bring_text(home: Path, content: str, name: str = "a.csv") -> ImportReport:
    file = home / name
    file.write_text(content)
    return import_labels(file, ledger_of(home), home / "aside", now=IMPORTED)


def ledger_of(home: Path) -> LabelLedger:
    return LabelLedger(home / LEDGER)


def ratings(home: Path) -> list[int | None]:
    return [label.sentiment_rating for label in ledger_of(home).standing()]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("written", "seen", "remedy"),
    [
        ([0, 1, 2, 1, 2], "0 (1 of 5, first in", "--scale 0-2"),
        ([-1, 0, 1, 1, 1], "-1 (1 of 5, first in", "--scale -1-1"),
        ([1, 2, 3, 3, 0], "0 (1 of 5, first in", "--scale"),
        ([1, 2, 3, 4, 4], "4 (2 of 5, first in", "no middle"),
        ([1, 2, 3, 4, 5], "5 (1 of 5, first in", "--scale 1-5"),
        ([1, 3, 9, 2, 7], "9 (1 of 5, first in", "--scale 1-10"),
        ([1, 2, 3, 2.5, 1.5], "2.5 (1 of 5, first in", "--scale"),
        (["3 stars", "1 star", "2 stars"], "3 stars (1 of 3, first in", "--scale"),
        (["neutral", "positive", "negative"], "positive (1 of 3, first in", "--scale"),
    ],
)
def test_a_foreign_scale_refuses_the_whole_file_and_says_how_to_map_it(
    tmp_path: Path, door: str, written: list[Any], seen: str, remedy: str
) -> None:
    with pytest.raises(LabelFileError, match="another scale than 1 bearish, 2 neutral, 3 bullish") as refused:
        bring(tmp_path, door, rows_of(written))
    assert seen in str(refused.value)
    assert remedy in str(refused.value)
    assert "\n" not in str(refused.value)
    assert not ledger_of(tmp_path).count()
    assert not (tmp_path / "a.duckdb").exists()


@pytest.mark.parametrize("door", DOORS)
def test_one_stray_rating_is_put_aside_and_named_with_its_place(tmp_path: Path, door: str) -> None:
    report = bring(tmp_path, door, rows_of([1, 2, 33, 3, "Bearish", " NEUTRAL", 3.0]))
    assert ratings(tmp_path) == [1, 2, 3, 1, 2, 3]
    (stray,) = report.rejected
    assert "sentiment_rating 33" in stray.reason
    assert f"{stray.where} {stray.line}: " in str(report)
    if door != "sql":
        assert stray.line == 3 + (door == "csv")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    ("scale", "written", "meant"),
    [
        ("0-2", [0, 1, 2], [1, 2, 3]),
        ("-1-1", [-1, 0, "+1", "\N{MINUS SIGN}1"], [1, 2, 3, 1]),
        ("1-5", [1, 2, 3, 4, 5], [1, 1, 2, 3, 3]),
        ("1-10", list(range(1, 11)), [1, 1, 1, 1, 2, 2, 3, 3, 3, 3]),
        ("3=bearish,2=neutral,1=bullish", [3, 2, 1], [1, 2, 3]),
        ("sell=bearish, hold=neutral, buy=bullish", ["Buy", "HOLD", "sell"], [3, 2, 1]),
        ("=1=bearish,=2=neutral,3,5=bullish", ["=1", "=2", "=1"], [1, 2, 1]),
    ],
)
def test_a_named_scale_maps_ratings(
    tmp_path: Path, door: str, scale: str, written: list[Any], meant: list[int]
) -> None:
    bring(tmp_path, door, rows_of(written), scale)
    assert ratings(tmp_path) == meant
    assert [each.scale for each in ledger_of(tmp_path).imports()] == [scale]


def test_ratings_that_are_not_on_the_named_scale_refuse_the_file(tmp_path: Path) -> None:
    for written in ([0, 1, 2, 3, 4], [0, 1, 2, -1]):
        with pytest.raises(LabelFileError, match="not on the scale 0-2"):
            bring(tmp_path, "csv", rows_of(written), "0-2")


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("1-4", "no middle"), ("five", "not one of 1-3"), ("1=good", "bearish, neutral, bullish"),
        ("1=bearish,1.0=bullish", "given twice"), ("", "not one of"), ("1=bearish,,2=neutral", "write RATING=MEANING"),
        ("1=bearis,2=neutral,3=bullish", "1=bearis"), ("1=bearish;2=neutral,3=bullish", "separated by commas"),
    ],
)  # fmt: skip
def test_a_scale_that_cannot_be_understood_is_refused(text: str, cause: str) -> None:
    with pytest.raises(ScaleError, match=cause):
        parse_scale(text)


@pytest.mark.parametrize("door", DOORS)
def test_a_scale_within_one_to_three_that_lacks_an_end_is_asked_about(tmp_path: Path, door: str) -> None:
    for written in ([1, 2] * 6, [2, 3] * 6):
        with pytest.raises(LabelFileError, match=r"none of its 12 ratings is [13].*--scale 1-3"):
            bring(tmp_path, door, rows_of(written))
    bring(tmp_path, door, rows_of([1, 2] * 6), "1-3")
    assert ratings(tmp_path) == [1, 2] * 6


def test_a_scale_that_puts_all_ratings_into_one_class_is_named(tmp_path: Path) -> None:
    report = bring(tmp_path, "csv", rows_of([1, 2, 3] * 4), "1-10")
    assert "on the scale 1-10 all its 12 ratings are bearish" in str(report)
    assert "all its" not in str(bring(tmp_path, "csv", rows_of([1, 9, 3] * 4, "ben"), "1-10", "b"))


def test_a_file_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match="it has no rows"):
        bring_text(tmp_path, HEADER)


def test_the_hint_for_a_scale_names_the_ratings_of_the_file(tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match=re.escape("`--scale 2=…,3=…`")):
        bring(tmp_path, "csv", rows_of([2, 3] * 6))


def test_a_reversed_scale_is_noticed_where_the_ledger_rates_the_same_posts(tmp_path: Path) -> None:
    written = [1, 3, 2] * 6
    bring(tmp_path, "csv", rows_of(written))
    backwards = rows_of([4 - rating for rating in written], "bob")
    with pytest.raises(LabelFileError, match=r"opposite 12 times, and the same 0 times.*1=bullish"):
        bring(tmp_path, "csv", backwards, name="b")
    bring(tmp_path, "csv", backwards, "1=bullish,2=neutral,3=bearish", name="b")
    assert ratings(tmp_path) == written * 2


@pytest.mark.parametrize("door", DOORS)
def test_threads_that_a_spreadsheet_rounded_are_put_aside(tmp_path: Path, door: str) -> None:
    rows = [(written, 3, "ann", "2026-03-01") for written in ("6.1E+07", "6,10727E+07", "61072700.0", 61072701.0)]
    report = bring(tmp_path, door, [*rows[:1], *rows[2:]] if door == "csv" else rows)
    assert [label.thread_id for label in ledger_of(tmp_path).all()] == [61072700, 61072701]
    assert all("rounded by a spreadsheet" in row.reason for row in report.rejected)
    assert len(report.rejected) == 2 - (door == "csv")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize(
    "threads",
    [
        [61_070_000 + 10_000 * n for n in range(2)] * 6,
        [61_071_200 + 300 * n for n in range(12)],
        [61_070_000] * 12,
        [61_071_230 + 310 * n for n in range(12)],
    ],
)
def test_a_file_whose_threads_were_all_rounded_is_refused(tmp_path: Path, door: str, threads: list[int]) -> None:
    rows = [(thread, 1 + n % 3, "ann", f"2026-03-01T12:00:{n:02}") for n, thread in enumerate(threads)]
    with pytest.raises(LabelFileError, match=r"all its thread numbers end in 0.*nothing was imported"):
        bring(tmp_path, door, rows)
    assert not ledger_of(tmp_path).path.exists()


@pytest.mark.parametrize("exact", [1, 20])
def test_rounded_threads_are_told_among_exact_ones(tmp_path: Path, exact: int) -> None:
    threads = [61_072_000 + 1_000 * n for n in range(4)] + [61_080_123 + 311 * n for n in range(exact)]
    rows = [(thread, 1 + n % 3, "ann", f"2026-03-01T12:00:{n:02}") for n, thread in enumerate(threads)]
    with pytest.raises(LabelFileError, match=rf"4 of its {4 + exact} thread numbers end in 000.*nothing was imported"):
        bring(tmp_path, "csv", rows)
    kept = [(61_070_001 + 251 * n, 1 + n % 3, "ann", f"2026-03-01T12:{n // 60:02}:{n % 60:02}") for n in range(2_000)]
    assert bring(tmp_path, "csv", kept, name="all").new == 2_000  # of which two end in 000


@pytest.mark.parametrize(
    "written", ["–1", "—1", "‐1", "\u200e-1", "\u200b0", '"0,0"', '"-0,5"', "'0", "(1)", "1-", "0%", '"=""0"""', "-inf"]
)
def test_a_rating_of_0_or_below_refuses_the_file_however_it_is_written(tmp_path: Path, written: str) -> None:
    with pytest.raises(LabelFileError, match="on another scale"):
        bring(tmp_path, "csv", rows_of([1, 2, 3] * 8 + [written]))
    assert not ledger_of(tmp_path).path.exists()


def test_blanks_within_a_labellers_name_are_one_and_an_unseen_last_column_is_ignored(tmp_path: Path) -> None:
    names = ["ann lee", "ann\tlee", "ann  lee", "ann\N{IDEOGRAPHIC SPACE}lee"]
    file = tmp_path / "a.csv"
    lines = [f"{61_000_001 + n},2,{name},2026-03-01,\u200b\n" for n, name in enumerate(names)]
    file.write_text(HEADER.rstrip("\n") + ",\n" + "".join(lines))
    import_labels(file, ledger_of(tmp_path), tmp_path / "aside", now=IMPORTED)
    assert {label.labeler_id for label in ledger_of(tmp_path).all()} == {"ann lee"}
    assert len(ledger_of(tmp_path).all()) == 4


def test_an_import_says_how_many_threads_the_database_does_not_know(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "a.duckdb")
    with database.write() as connection:
        connection.execute(
            "INSERT INTO thread_ops (thread_id, posted_at, source, ingested_at, text_known_at) "
            "SELECT 61_000_000 + i, TIMESTAMP '2026-03-01', 'live', TIMESTAMP '2026-03-01', TIMESTAMP '2026-03-01' "
            "FROM range(2) AS r(i)"
        )
    file = tmp_path / "a.csv"
    file.write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows_of([1, 2, 3])))
    said = str(import_labels(file, ledger_of(tmp_path), tmp_path / "aside", now=IMPORTED, database=database))
    assert "1 of its 3 threads is not in the database: check the numbers, or import those days" in said
    assert "dated before" not in said
    file.write_text(HEADER + "61000000,1,bob,2014-10-22T09:00:00\n61000001,2,bob,2026-02-28T12:00:00\n")
    said = str(import_labels(file, ledger_of(tmp_path), tmp_path / "aside", now=IMPORTED, database=database))
    assert "1 label is dated before the post was made: check labeled_at" in said


def test_numbers_with_an_exponent_are_rounded_also_where_they_are_no_text(tmp_path: Path) -> None:
    line = '{"thread_id": 6.10727E+07, "sentiment_rating": 3, "labeler_id": "ann", "labeled_at": "2026-03-01"}\n'
    dump = "INSERT INTO training_labels VALUES(1,6.10727E+07,3,0,'x 6.1E7','ann','2026-03-01',NULL,NULL);\n"
    for name, content in (("a.jsonl", line), ("a.sql", dump)):
        with pytest.raises(LabelFileError, match=r"thread_id '6.10727E\+07' was rounded by a spreadsheet"):
            bring_text(tmp_path, content, name)


@pytest.mark.parametrize("door", DOORS)
def test_a_labeller_is_one_however_the_name_is_written(tmp_path: Path, door: str) -> None:
    ledger_of(tmp_path).append([Label(1, 3, "ann", datetime(2026, 1, 1))])
    invisible = ("ann\N{NO-BREAK SPACE}", "\N{ZERO WIDTH SPACE}ann", "ann\x07")
    names = (" ann", "ann ", *invisible, "Ann", "ANN", "ａｎｎ", "bob")
    rows = [(n, n % 3 + 1, name, "2026-03-01") for n, name in enumerate(names, start=2)]
    report = bring(tmp_path, door, rows)
    assert [label.labeler_id for label in ledger_of(tmp_path).standing()] == ["ann"] * 9 + ["bob"]
    assert "labeller 'ANN' is imported as 'ann'" in str(report)


def test_what_spreadsheets_leave_behind_in_a_csv_is_no_row_and_no_column(tmp_path: Path) -> None:
    report = bring_text(
        tmp_path,
        "\ufeff,,,,,\r\n,Thread_ID, sentiment_rating ,labeler_id,labeled_at,notes,,\r\n"
        '0,61000124,3, ann, 2026-03-01T12:00:00 ,"two\r\nlines",,\r\n,,,,,,,\r\n , ,,,,,,\r\n'
        "1,61000125,1,ann,2026-03-01T12:00:00,,,\r\n2,61000126,1,ann,2026-03-01T12:00:00,,,x\r\n",
    )
    assert [(label.thread_id, label.notes) for label in ledger_of(tmp_path).all()] == [
        (61000124, "two\r\nlines"),
        (61000125, None),
    ]
    assert [(row.line, row.reason) for row in report.rejected] == [(8, "8 values for 6 columns")]
    assert report.unknown_columns == ("column 1",)


def test_a_repeated_header_or_key_is_refused_by_name(tmp_path: Path) -> None:
    for header in ("sentiment_rating,Sentiment_Rating", "sentiment_rating,subject,subject_snapshot"):
        with pytest.raises(LabelFileError, match=r"the column (sentiment_rating|subject) twice"):
            bring_text(tmp_path, f"thread_id,{header},labeler_id,labeled_at\n1,1,2,ann,2026-03-01\n")
    twice = bring_text(tmp_path, HEADER + "1,1,ann,2026-03-01\n" + HEADER + "2,3,ann,2026-03-01\n")
    assert [row.reason for row in twice.rejected] == ["repeated header"]
    label = '"sentiment_rating": 1, "labeler_id": "ann", "labeled_at": "2026-03-01"'
    for key in ('"sentiment_rating": 3', '"subject": "a", "subject_snapshot": "b"'):
        with pytest.raises(LabelFileError, match="occurs twice"):
            bring_text(tmp_path, f'{{"thread_id": 9, {key}, {label}}}\n', "a.jsonl")
    assert [label.thread_id for label in ledger_of(tmp_path).all()] == [1, 2]


@pytest.mark.parametrize("door", DOORS)
def test_of_contradicting_ratings_the_newest_counts_and_one_of_the_same_time_is_named(
    tmp_path: Path, door: str
) -> None:
    rows = [(7, 3, "ann", "2026-03-01T12:00:01"), (7, 1, "ann", "2026-03-01T12:00:00"), (8, 2, "ann", "2026-03-01"),
            (8, 3, "ann", "2026-03-01"), (9, 1, "ann", "2126-03-01")]  # fmt: skip
    for _ in range(2):
        report = bring(tmp_path, door, rows)
        newest = [(label.thread_id, label.sentiment_rating) for label in ledger_of(tmp_path).newest()]
        assert newest == [(7, 3), (8, 2)]
        assert ["another label of the same thread" in row.reason for row in report.rejected] == [True, False]
    assert len(ledger_of(tmp_path).imports()) == 1


@pytest.mark.parametrize("door", DOORS)
def test_a_rating_that_contradicts_one_of_another_file_at_the_same_time_replaces_it_and_that_is_said(
    tmp_path: Path, door: str
) -> None:
    bring(tmp_path, door, rows_of([1, 2, 3]))
    (tmp_path / "b.csv").write_text(HEADER + "".join(",".join(map(str, row)) + "\n" for row in rows_of([3, 2, 1])))
    report = import_labels(tmp_path / "b.csv", ledger_of(tmp_path), tmp_path / "aside", now=IMPORTED)
    assert (report.new, report.known, report.rejected) == (2, 1, ())
    assert "2 new labels rate differently than a known one of the same labeller, post and time" in str(report)
    again = bring(tmp_path, door, rows_of([1, 2, 3]))
    assert again.import_id is None
    assert "2 known labels do not count: a later import has replaced them" in str(again)
    undo_import(ledger_of(tmp_path), report.import_id or 0, IMPORTED)
    assert ratings(tmp_path) == [1, 2, 3]


@pytest.mark.parametrize("door", DOORS)
def test_an_undone_import_counts_no_more_and_may_come_again_on_its_true_scale(tmp_path: Path, door: str) -> None:
    ledger, database = ledger_of(tmp_path), DatabaseFile(tmp_path / "b.duckdb")
    kept = Label(61_000_000, 2, "bob", datetime(2026, 1, 1))
    ledger.append([kept])
    wrong = bring(tmp_path, door, rows_of([1, 2, 3, 3]))
    assert wrong.import_id == 1
    assert "labels undo-import 1" in str(wrong)
    materialise_labels(database, ledger, NOW)
    first, second = undo_import(ledger, 1, IMPORTED), undo_import(ledger, 1, NOW)
    assert (first.labels, first.undone_now, second.undone_now) == (4, True, False)
    assert second.retracted_at == IMPORTED
    assert ledger.standing() == [kept]
    assert materialise_labels(database, ledger, NOW).removed == 4
    again = bring(tmp_path, door, rows_of([1, 2, 3, 3]), "1=bullish,2=neutral,3=bearish")
    assert again.import_id == 2
    assert ratings(tmp_path) == [2, 3, 2, 1, 1]
    assert bring(tmp_path, door, rows_of([1, 2, 3, 3]), "1=bullish,2=neutral,3=bearish").import_id is None
    assert ledger.count() == 9  # nothing was deleted
    counts = [(each.labels, each.retracted_at is not None) for each in ledger.imports()]
    assert counts == [(4, True), (4, False)]
    with pytest.raises(LedgerError, match="There is no import 3"):
        undo_import(ledger, 3, NOW)


def test_gold_without_a_label_is_named_neither_tests_nor_trains_and_is_drawn_anew(
    tmp_path: Path, shared_data: Path
) -> None:
    world = LabelledWorld(tmp_path / "home")
    labels = real_labels(shared_data)
    world.label(labels)
    export_labels(world.ledger, tmp_path / "a.csv")
    other = LabelledWorld(tmp_path / "other")
    other.label(labels)
    other.ledger.path.unlink()
    for suffix in ("-wal", "-shm"):
        other.ledger.path.with_name(other.ledger.path.name + suffix).unlink(missing_ok=True)
    forget(other.ledger.path)
    report = import_labels(tmp_path / "a.csv", other.ledger, tmp_path, now=IMPORTED)
    other.draw()
    gold = other.ledger.gold()
    assert len(gold) == 150
    rated = gold[0].thread_id
    other.ledger.append([Label(rated, 1, "bob", datetime(2026, 1, 1))])
    undone = undo_import(other.ledger, report.import_id or 0, IMPORTED)
    assert undone.gold_without_label == tuple(post.thread_id for post in gold[1:])
    assert undone.gold_still_labelled == (rated,)
    assert str(gold[1].thread_id) in str(undone)
    assert other.ledger.gold() == gold
    assert ledger_statistics(other.ledger, NOW - IMPORTED).gold_without_label == 149
    more = [label for label in labels if label.thread_id not in {post.thread_id for post in gold}]
    other.ledger.append([Label(x.thread_id, x.sentiment_rating, "cat", datetime(2026, 1, 2)) for x in more])
    assert extend_gold(other.database, other.ledger, LabellingSettings(), NOW).drawn > 100


def test_an_import_is_append_only(tmp_path: Path) -> None:
    bring(tmp_path, "csv", rows_of([1, 2, 3]))
    ledger_of(tmp_path).freeze_gold([GoldPost(61_000_000, "2026-03", NOW)])
    undo_import(ledger_of(tmp_path), 1, NOW)
    connection = sqlite3.connect(tmp_path / LEDGER)
    for statement in (
        "DELETE FROM retractions", "UPDATE retractions SET import_id = 2", "DELETE FROM imports",
        "UPDATE imports SET file = 'x'", "DELETE FROM labels", "UPDATE labels SET import_id = 0",
    ):  # fmt: skip
        with pytest.raises(sqlite3.IntegrityError, match="append-only"):
            connection.execute(statement)
    connection.close()


@pytest.mark.parametrize(("ratings", "noted"), [(["2", "3"], False), (["2", "3", "3"], True), (["1", "2", "3"], False)])
def test_an_end_of_the_scale_that_no_rating_has_is_noted_from_three_ratings_on(ratings: list[str], noted: bool) -> None:
    assert (missing_end(ratings) == "none of its 3 ratings is 1") == noted
