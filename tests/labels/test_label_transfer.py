"""Labels in and out as files: nothing is lost, nothing is guessed, nothing is run."""

import csv
import json
import sqlite3
import tempfile
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bizcharts_pipeline.http.fields import SITE_OPENED, undirected
from bizcharts_pipeline.labels.ledger import Label, LabelLedger
from bizcharts_pipeline.labels.transfer import ImportReport, LabelFileError, export_labels, import_labels

REAL = Path("labels") / "biz_op_labels_2025_part_a.jsonl"
NOON = datetime(2026, 3, 1, 12)
ROW = {"thread_id": 7, "sentiment_rating": 3, "labeler_id": "ann", "labeled_at": "2026-03-01T12:00:00.000001"}
CREATE = """CREATE TABLE training_labels (id INTEGER PRIMARY KEY AUTOINCREMENT, thread_id INTEGER REFERENCES thread_ops,
  sentiment_rating INTEGER CHECK(sentiment_rating >= 1 AND sentiment_rating <= 10), -- 1-10; declared
  skipped BOOLEAN DEFAULT FALSE, notes TEXT, labeler_id TEXT DEFAULT 'default',
  labeled_at DATETIME DEFAULT CURRENT_TIMESTAMP, text_snapshot TEXT, image_url_snapshot TEXT,
  UNIQUE(thread_id, labeler_id));
"""


@pytest.fixture
def ledger(tmp_path: Path) -> LabelLedger:
    return LabelLedger(tmp_path / "labels.sqlite")


def taken(ledger: LabelLedger, name: str, content: str | bytes) -> ImportReport:
    """Import a file of this content."""
    file = ledger.path.parent / name
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return import_labels(file, ledger, ledger.path.parent / "aside")


def lines(*rows: Any) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def as_the_shell_writes(value: str | int | None) -> str:
    """Return a value as ``.dump`` of SQLite's shell has it."""
    if not isinstance(value, str):
        return "NULL" if value is None else str(value)
    quoted = "'" + value.replace("'", "''") + "'"
    return "replace(" + quoted.replace("\n", "\\n") + ",'\\n',char(10))" if "\n" in value else quoted


def test_the_real_labels_come_back_with_every_value_from_every_format(
    ledger: LabelLedger, tmp_path: Path, shared_data: Path
) -> None:
    original = [json.loads(line) for line in (shared_data / REAL).read_text().split("\n") if line]
    report = import_labels(shared_data / REAL, ledger, tmp_path)
    assert (report.rows, report.new, report.known, report.rejected) == (672, 672, 0, ())
    for name in ("a.jsonl", "a.csv", "a.parquet"):
        assert export_labels(ledger, tmp_path / name).labels == 672
    exported = {json.loads(line)["thread_id"]: json.loads(line) for line in (tmp_path / "a.jsonl").open()}
    for row in original:
        ours = exported[row["thread_id"]]
        assert {name: ours[name] for name in row} == row
        assert [type(ours[name]) for name in row] == [type(value) for value in row.values()]
    names = "thread_id, posted_at, sentiment_rating, labeler_id, labeled_at, subject, text_snapshot, image_url_snapshot"
    stored = duckdb.sql(f"SELECT {names}, notes, skipped FROM '{tmp_path / 'a.parquet'}'").fetchall()
    assert {row[0]: row[1:] for row in stored} == {
        row["thread_id"]: (
            datetime.fromisoformat(row["posted_at"]),
            row["sentiment_rating"],
            row["labeler_id"],
            datetime.fromisoformat(row["labeled_at"]),
            row["subject"],
            row["text_snapshot"],
            row["image_url_snapshot"],
            row["notes"],
            bool(row["skipped"]),
        )
        for row in original
    }
    for name in ("a.jsonl", "a.csv"):
        copy = LabelLedger(tmp_path / f"{name}.sqlite")
        assert import_labels(tmp_path / name, copy, tmp_path).new == 672
        assert copy.newest() == ledger.newest()
        assert import_labels(tmp_path / name, ledger, tmp_path).new == 0


def test_the_real_labels_as_the_originals_dump_are_the_same(
    ledger: LabelLedger, tmp_path: Path, shared_data: Path
) -> None:
    original = [json.loads(line) for line in (shared_data / REAL).read_text().split("\n") if line]
    database = sqlite3.connect(":memory:")
    database.executescript(CREATE)
    database.executemany(
        "INSERT INTO training_labels (thread_id, sentiment_rating, skipped, notes, labeler_id, labeled_at, "
        "text_snapshot, image_url_snapshot) VALUES (:thread_id, :sentiment_rating, :skipped, :notes, :labeler_id, "
        ":labeled_at, :text_snapshot, :image_url_snapshot)",
        original,
    )
    plain = "\n".join(database.iterdump())
    database.close()
    columns = [
        "sentiment_rating",
        "skipped",
        "notes",
        "labeler_id",
        "labeled_at",
        "text_snapshot",
        "image_url_snapshot",
    ]
    shell = "".join(
        f"INSERT INTO training_labels VALUES({number},{row['thread_id']},"
        f"{','.join(as_the_shell_writes(row[column]) for column in columns)});\n"
        for number, row in enumerate(original, start=1)
    )
    assert "char(10)" in shell
    for name, dump in (("plain.sql", plain), ("shell.sql", shell)):
        other = LabelLedger(tmp_path / f"{name}.sqlite")
        report = taken(other, name, dump)
        assert (report.new, report.rejected) == (672, ())
        assert {label.thread_id: label.text_snapshot for label in other.all()} == {
            row["thread_id"]: row["text_snapshot"] for row in original
        }
        assert {label.labeled_at.isoformat() for label in other.all()} == {row["labeled_at"] for row in original}
    import_labels(shared_data / REAL, ledger, tmp_path)
    assert taken(ledger, "plain.sql", plain).new == 0  # the same labels, by another way


TEXT = st.text(st.characters(exclude_categories=("Cs",)) | st.sampled_from("=+-@'\"\t\r\n,\0 é"), max_size=12)
MOMENTS = st.datetimes(SITE_OPENED, datetime(2099, 12, 31))
PLAIN = TEXT.map(undirected)  # other characters are dropped on import
LABELS = st.builds(
    Label,
    thread_id=st.integers(1, 5) | st.integers(1, 2**63 - 1).filter(lambda number: number % 1000),  # not rounded
    sentiment_rating=st.integers(1, 3),
    labeler_id=st.sampled_from(["ann", "=ann", "'", 'a, "b']),
    labeled_at=st.sampled_from([NOON, NOON + timedelta(microseconds=1)]) | MOMENTS,
    seconds=st.none() | st.floats(0, 1e6),
    notes=st.none() | PLAIN,
    text_snapshot=st.none() | TEXT,
    image_url_snapshot=st.none() | TEXT,
    origin=st.sampled_from(["labeller", "posts.db", "@x"]),
    posted_at=st.none() | MOMENTS,
    subject_snapshot=st.none() | TEXT,
    flag=st.sampled_from([None, "irony", "illegal"]),
    session=st.none() | PLAIN,
    stratum=st.sampled_from([None, "random", "uncertain", "filter", "shared"]),
    probability=st.none() | st.floats(0, 1),
    suggestion=st.sampled_from([None, "bearish", "bullish"]),
    image_visible=st.none() | st.booleans(),
)
SKIPS = LABELS.map(lambda label: replace(label, sentiment_rating=None, skipped=True))


@pytest.mark.slow
@settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])
@given(
    labels=st.lists(LABELS | SKIPS, min_size=1, max_size=6),
    history=st.booleans(),
    ending=st.sampled_from(["csv", "jsonl"]),
)
def test_an_export_that_comes_back_is_exported_the_same(labels: list[Label], history: bool, ending: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        ledger, copy = LabelLedger(folder / "one.sqlite"), LabelLedger(folder / "other.sqlite")
        ledger.append(labels)
        first, second = folder / f"first.{ending}", folder / f"second.{ending}"
        export_labels(ledger, first, history=history)
        report = import_labels(first, copy, folder)
        assert not report.rejected
        assert report.new == report.rows
        export_labels(copy, second, history=history)
        assert first.read_bytes() == second.read_bytes()
        assert (copy.standing() if history else copy.newest()) == (ledger.standing() if history else ledger.newest())
        assert import_labels(first, ledger, folder).new == 0


@given(text=TEXT)
@settings(max_examples=60)
def test_no_text_from_outside_is_a_formula_in_a_spreadsheet(text: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        ledger = LabelLedger(Path(name) / "labels.sqlite")
        ledger.append([Label(1, 1, "ann", NOON, text_snapshot=text, notes="=1+1", subject_snapshot="＝x")])
        export_labels(ledger, Path(name) / "a.csv")
        with (Path(name) / "a.csv").open(encoding="utf-8", newline="") as file:
            _, row = csv.reader(file)
    assert all(cell[:1] not in tuple("=+-@\t\r\n＝＋－＠") or not cell for cell in row)
    assert "'=1+1" in row


def test_csv_of_other_programs_is_read_as_it_stands(ledger: LabelLedger) -> None:
    content = (
        "\ufeffthread_id,labeler_id,sentiment_rating,labeled_at,text_snapshot,notes,mood\r\n"
        '1,ann,3.0,2026-03-01T13:00:00+01:00,"\'=a, ""b""\nc",,x\r\n'
        "\r\n"
        '2,ann,1,2026-03-01 12:00:00Z,"",it\'s,'
    )
    report = taken(ledger, "other.csv", content)
    assert ledger.all() == [
        Label(1, 3, "ann", NOON, text_snapshot='\'=a, "b"\nc', origin="other.csv"),
        Label(2, 1, "ann", NOON, text_snapshot="", notes="it's", origin="other.csv"),
    ]
    assert report.unknown_columns == ("mood",)
    assert "mood" in str(report)


def test_bad_rows_are_named_kept_and_cost_nothing_else(ledger: LabelLedger) -> None:
    bad: list[tuple[Any, str]] = [
        (ROW | {"sentiment_rating": 9}, "9, not 1 to 3"),
        (ROW | {"sentiment_rating": None}, "neither"),
        (ROW | {"skipped": 1}, "both"),
        (ROW | {"thread_id": "seven"}, "whole number"),
        (ROW | {"thread_id": 2**63}, "not a thread"),
        (ROW | {"thread_id": 10**400}, "not a thread"),
        (ROW | {"labeler_id": ""}, "no labeler_id"),
        (ROW | {"labeled_at": "yesterday"}, "ISO 8601"),
        (ROW | {"labeled_at": None}, "no labeled_at"),
        (ROW | {"notes": ["x"]}, "not text"),
        (ROW | {"seconds": -1}, "seconds"),
        (ROW | {"flag": "spam"}, "flag"),
        (ROW | {"stratum": "Uncertainn"}, "stratum"),
        (ROW | {"suggestion": "9"}, "suggestion"),
        ([1], "not a JSON object"),
    ]
    good = [ROW | {"thread_id": number} for number in range(100, 116)]
    content = "".join(lines(row, each) for (each, _), row in zip(bad, good, strict=False))
    report = taken(
        ledger, "a.jsonl", content.encode() + b'{"thread_id": \xff}\n{"cut off": \n' + lines(good[15]).encode()
    )
    assert [label.thread_id for label in ledger.all()] == list(range(100, 116))
    assert [row.line for row in report.rejected] == [*range(2, 31, 2), 31, 32]
    reasons = [reason for _, reason in bad] + ["not UTF-8", "not JSON"]
    for row, reason in zip(report.rejected, reasons, strict=True):
        assert reason in row.reason
    assert report.aside
    kept = [json.loads(line) for line in report.aside.read_text().splitlines()]
    assert [(row["line"], row["row"]) for row in kept] == [(row.line, row.text) for row in report.rejected]
    assert "line 2: sentiment_rating 9" in str(report)
    repeated = import_labels(ledger.path.parent / "a.jsonl", ledger, report.aside.parent)
    assert (repeated.new, repeated.known, repeated.aside) == (0, 16, report.aside)


def test_a_broken_csv_row_costs_itself(ledger: LabelLedger) -> None:
    header = "thread_id,sentiment_rating,labeler_id,labeled_at,notes\n"
    rows = ['1,1,ann,2026-03-01 12:00,"fine"', '2,2,ann,2026-03-01 12:00,"open', "3,3,ann,2026-03-01 12:00,a", "4,1"]
    report = taken(
        ledger, "a.csv", header + "\n".join(rows) + '\n5,2,ann,2026-03-01 12:00,"x"y\n6,2,ann,2026-03-01 12:00,'
    )
    assert [label.thread_id for label in ledger.all()] == [1, 3, 6]
    assert [row.line for row in report.rejected] == [3, 5, 6]


def test_another_label_of_the_same_moment_is_named_and_a_corrected_file_is_taken(ledger: LabelLedger) -> None:
    report = taken(ledger, "a.jsonl", lines(ROW, ROW, ROW | {"sentiment_rating": 1}))
    assert (report.new, report.known, [row.line for row in report.rejected]) == (1, 1, [3])
    assert taken(ledger, "renamed.jsonl", lines(ROW)).known == 1
    assert taken(ledger, "corrected.jsonl", lines(ROW | {"sentiment_rating": 1})).new == 1
    assert [label.sentiment_rating for label in ledger.newest()] == [1]


def test_no_label_of_a_file_is_too_large_for_the_ledger_and_none_of_the_ledger_for_parquet(
    ledger: LabelLedger, tmp_path: Path
) -> None:
    large = ROW | {"text_snapshot": "é" * 500_000}
    for name, content in (
        ("a.jsonl", lines(large, ROW)),
        (
            "a.csv",
            "\n".join(
                ",".join(map(str, row)) for row in (large, large.values(), {**ROW, "text_snapshot": "x"}.values())
            ),
        ),
    ):
        report = taken(ledger, name, content)
        assert [(row.line, row.reason) for row in report.rejected] == [
            (1 + (name == "a.csv"), "more than 1,000,000 bytes of text")
        ]
    ledger.append([Label(8, 1, "ann", NOON, text_snapshot="x" * 20_000_000)])  # as an earlier import could
    export_labels(ledger, tmp_path / "a.parquet")
    assert duckdb.sql(f"SELECT max(length(text_snapshot)) FROM '{tmp_path / 'a.parquet'}'").fetchone() == (20_000_000,)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.sql"])
def test_ratings_on_another_scale_are_refused_by_name(ledger: LabelLedger, name: str) -> None:
    rows = [ROW | {"thread_id": number, "sentiment_rating": number} for number in range(1, 11)]
    content = {
        "a.jsonl": lines(*rows),
        "a.csv": ",".join(ROW) + "\n" + "".join(",".join(map(str, row.values())) + "\n" for row in rows),
        "a.sql": "".join(
            f"INSERT INTO training_labels VALUES({n},{n},{min(n, 4)},0,NULL,'ann','2026-03-01 12:00:00',NULL,NULL);\n"
            for n in range(1, 11)
        ),
    }[name]
    with pytest.raises(LabelFileError, match="another scale than 1 bearish"):
        taken(ledger, name, content)
    assert ledger.count() == 0


def test_a_dump_is_read_and_never_run(ledger: LabelLedger, tmp_path: Path) -> None:
    insert = "INSERT INTO training_labels VALUES({0},{0},2,0,NULL,'ann','2026-03-01 12:00:0{0}',{1},NULL);\n"
    other = tmp_path / "other.sqlite"
    dump = (
        "PRAGMA foreign_keys=OFF;\nBEGIN TRANSACTION;\n"
        + CREATE
        + insert.format(1, "'a; -- ''b'''")
        + f"ATTACH '{other}' AS x;\n"
        + insert.format(2, "(SELECT group_concat(sql) FROM sqlite_master)")
        + insert.format(3, "readfile('/etc/passwd')")
        + insert.format(4, "randomblob(1000000000)")
        + "INSERT INTO training_labels SELECT * FROM training_labels;\n"
        + "INSERT  INTO  training_labels DEFAULT VALUES;\n"
        + "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x+1 FROM c) SELECT count(*) FROM c;\n"
        + "CREATE TRIGGER t AFTER INSERT ON training_labels BEGIN SELECT 1; END;\n"
        + "INSERT INTO thread_ops VALUES(1,2,3);\n"
        + insert.format(5, r"unistr('a\u000ab \+01f680 \\ \u')")
        + 'INSERT OR REPLACE INTO "training_labels" (thread_id, sentiment_rating) VALUES (6, 1);\n'
        + "INSERT INTO training_labels (thread_id, sentiment_rating, labeled_at) VALUES (7, 1, '2026-03-01'), "
        "(8, 3, '2026-03-01');\n"
        + "DELETE FROM sqlite_sequence;\nCOMMIT;\n"
        + "INSERT INTO training_labels VALUES(9, 9, 1, 'cut off"
    )
    report = taken(ledger, "dump.sql", dump)
    assert [(label.thread_id, label.labeler_id, label.text_snapshot) for label in ledger.all()] == [
        (1, "ann", "a; -- 'b'"),
        (5, "ann", "a\nb \N{ROCKET} \\ \\u"),
        (7, "original", None),
        (8, "original", None),
    ]
    assert not other.exists()
    reasons = {row.line: row.reason for row in report.rejected}
    named = {text: next(n for n, line in enumerate(dump.split("\n"), 1) if text in line) for text in (
        "ATTACH", "group_concat", "readfile", "randomblob", "SELECT * FROM", "DEFAULT VALUES", "RECURSIVE",
        "(6, 1)", "cut off",
    )}  # fmt: skip
    assert set(reasons) == set(named.values())
    assert reasons[named["(6, 1)"]] == "no labeled_at"  # the present, which its table would put there, is a guess


def test_what_is_no_file_of_labels_is_refused_with_its_name(ledger: LabelLedger, tmp_path: Path) -> None:
    with pytest.raises(LabelFileError, match=r"a\.xlsx.*\.csv"):
        taken(ledger, "a.xlsx", "")
    for content, cause in (
        ("id,rating\n1,2\n", "lacks thread_id, .*commas"),
        (";".join(ROW) + "\n7;3;ann;2026-03-01\n", "semicolons.*commas"),
        ("\t".join(ROW), "tabs.*commas"),
        ("sep=;\n" + ";".join(ROW), "sep="),
        (",".join(ROW).encode("utf-16"), "UTF-16"),
        (",".join(ROW).encode("utf-16-le"), "UTF-16"),
    ):
        with pytest.raises(LabelFileError, match=rf"a\.csv.*{cause}"):
            taken(ledger, "a.csv", content)
    for name in ("a.csv", "a.jsonl", "a.sql"):
        with pytest.raises(LabelFileError, match=r"empty"):
            taken(ledger, name, "\ufeff\n")
    with pytest.raises(LabelFileError, match=r"absent\.csv"):
        import_labels(tmp_path / "absent.csv", ledger, tmp_path)
    with pytest.raises(LabelFileError, match=r"a\.xlsx.*\.parquet"):
        export_labels(ledger, tmp_path / "a.xlsx")


def test_current_is_the_newest_of_each_labeller_and_history_what_stands(ledger: LabelLedger, tmp_path: Path) -> None:
    label = Label(1, 3, "ann", NOON)
    ledger.append([label, replace(label, sentiment_rating=1, labeled_at=NOON + timedelta(days=1))])
    ledger.append([replace(label, labeler_id="bob"), replace(label, thread_id=2)])
    ledger.undo("ann", NOON)
    for history, rows in (
        (False, [(1, "ann", 1), (1, "bob", 3)]),
        (True, [(1, "ann", 3), (1, "ann", 1), (1, "bob", 3)]),
    ):
        export_labels(ledger, tmp_path / "a.jsonl", history=history)
        written = [json.loads(line) for line in (tmp_path / "a.jsonl").open()]
        assert [(row["thread_id"], row["labeler_id"], row["sentiment_rating"]) for row in written] == rows


HEADER = "thread_id,sentiment_rating,labeler_id,labeled_at\n"
TIME = "2026-03-01 12:00"
GOOD = f"1,1,ann,{TIME}\n2,2,ann,{TIME}\n3,3,ann,{TIME}\n"


def test_a_number_with_an_underscore_is_no_rating(ledger: LabelLedger) -> None:
    report = taken(ledger, "a.csv", HEADER + GOOD + f"4,0_3,ann,{TIME}\n")
    assert [label.thread_id for label in ledger.all()] == [1, 2, 3]
    assert [row.reason for row in report.rejected] == ["sentiment_rating 0_3, not 1 to 3"]


@pytest.mark.parametrize("name", ["a.jsonl", "a\x1b[31m\u202e.jsonl"])
def test_no_imported_note_origin_or_session_controls_a_terminal(ledger: LabelLedger, name: str) -> None:
    hostile = "\x1b]0;x\x07\x9b31m\u202eevil\u2066\tab\n\r\x1c"
    origin = {} if "\x1b" in name else {"origin": hostile}  # without one, it is the name of the file
    taken(ledger, name, lines(ROW | {"notes": hostile, "session": hostile, "text_snapshot": hostile, **origin}))
    (label,) = ledger.all()
    assert label.notes == label.session == "]0;x31mevil\tab\n\r"
    assert label.text_snapshot == hostile  # as the source has it
    assert label.origin == ("a[31m.jsonl" if "\x1b" in name else label.notes)


@pytest.mark.parametrize("second", ["sentiment\u200b_rating", "\ufeffSentiment_Rating", " sentiment_rating\u00ad "])
def test_a_repeated_column_is_found_whatever_its_invisible_characters(ledger: LabelLedger, second: str) -> None:
    with pytest.raises(LabelFileError, match="sentiment_rating twice"):
        taken(ledger, "a.csv", HEADER.replace("\n", f",{second}\n") + f"1,1,ann,{TIME},3\n")
    report = taken(ledger, "a.jsonl", lines(ROW | {second: 1}, ROW | {"thread_id": 8}))
    assert "'sentiment_rating' occurs twice" in report.rejected[0].reason
    assert [label.thread_id for label in ledger.all()] == [8]


@pytest.mark.parametrize("extension", ["csv", "jsonl", "sql"])
@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"PK\x03\x04\x14\0;,;[Content_Types].xml", "a spreadsheet or a ZIP archive"),
        (b"\x1f\x8b\x08\0;;;", "compressed with gzip"),
        (b"\x89PNG\r\n\x1a\n;;" + bytes(range(1, 256)), "a binary file"),
        (HEADER.encode("cp500"), "a binary file, or text that is not UTF-8"),
        (HEADER.encode("utf-32"), "UTF-32"),
    ],
)
def test_a_file_that_is_no_text_is_named_as_such(
    ledger: LabelLedger, extension: str, content: bytes, told: str
) -> None:
    with pytest.raises(LabelFileError, match=told):
        taken(ledger, f"a.{extension}", content)


def test_a_line_of_json_is_rejected_in_plain_words(ledger: LabelLedger) -> None:
    bad = ["[" * 100_000, '{"thread_id": ' + "9" * 5000 + "}", '{"thread_id": 1,}']
    report = taken(ledger, "a.jsonl", lines(ROW) + "\n".join(bad))
    too = "a number is too long, or arrays or objects are nested too deeply"
    assert [row.reason for row in report.rejected] == [too, too, "not JSON at character 17"]


def test_unknown_columns_are_named_up_to_ten(ledger: LabelLedger) -> None:
    more = [f"column{number}" for number in range(500)]
    report = taken(ledger, "a.csv", HEADER.replace("\n", f",{','.join(more)}\n") + f"1,1,ann,{TIME}" + ",x" * 500)
    assert "column9 and 490 more\n" in str(report)


def test_a_dump_that_removes_labels_or_names_a_column_twice_is_reported(ledger: LabelLedger) -> None:
    insert = f"INSERT INTO training_labels VALUES(1,7,1,0,NULL,'ann','{TIME}',NULL,NULL);\n"
    twice = (
        'INSERT INTO training_labels (thread_id, sentiment_rating, "Sentiment_Rating", labeler_id, labeled_at) '
        f"VALUES (9,1,3,'ann','{TIME}');\n"
    )
    removals = ["DELETE FROM training_labels WHERE thread_id = 7;", "drop table if exists 'training_labels';"]
    report = taken(ledger, "a.sql", CREATE + insert + twice + "DELETE FROM sqlite_sequence;\n" + "\n".join(removals))
    assert [label.thread_id for label in ledger.all()] == [7]
    assert ["twice" in row.reason for row in report.rejected] == [True, False, False]
    assert all("not removed" in row.reason for row in report.rejected[1:])
    with pytest.raises(LabelFileError, match="it has no rows"):
        taken(ledger, "b.sql", f"DROP TABLE IF EXISTS training_labels;\n{CREATE}")


def test_a_dump_without_the_table_is_refused(ledger: LabelLedger) -> None:
    with pytest.raises(LabelFileError, match="no rows for the table training_labels"):
        taken(ledger, "a.sql", "CREATE TABLE labels (thread_id);\nINSERT INTO labels VALUES (7);\n")
