"""The commands for labels, as a user meets them: processes of their own."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import datetime
from pathlib import Path

import pytest
from installation import REPOSITORY, Installation

from bizcharts_pipeline.labels.ledger import LEDGER, LabelLedger
from bizcharts_pipeline.warehouse.learning_curves import CurvePoint, LearningCurve, append_curve

ROWS = [
    {
        "thread_id": 1000 + n,
        "sentiment_rating": n % 3 + 1,
        "labeler_id": "ann",
        "labeled_at": f"2026-03-01T12:00:{n:02}",
    }
    for n in range(12)
]


@pytest.fixture
def installation(tmp_path: Path) -> Installation:
    return Installation(tmp_path, "http://127.0.0.1:9")


@pytest.fixture
def with_database(installation: Installation) -> Installation:
    installation.home.mkdir()
    with installation.database.write():
        return installation


def file(installation: Installation, name: str, *rows: object) -> str:
    path = installation.folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def fails_in_one_line(finished: subprocess.CompletedProcess[str]) -> str:
    assert finished.returncode == 1
    assert finished.stderr.startswith("bizcharts: ")
    assert finished.stderr.count("\n") == 1
    return finished.stderr


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("empty.csv", "", "It is empty"),
        (
            "no-label.csv",
            "thread_id,sentiment_rating,labeler_id,labeled_at\nx,1,ann,2026-03-01\n",
            "line 2: thread_id 'x'",
        ),
        (
            "scale.jsonl",
            "".join(json.dumps({**row, "sentiment_rating": 5}) + "\n" for row in ROWS),
            "another scale",
        ),
        ("posts.txt", "a", "imports a SQLite database"),
    ],
)
def test_a_refused_import_leaves_nothing_where_there_was_no_home(
    installation: Installation, name: str, content: str, told: str
) -> None:
    (installation.folder / name).write_text(content)
    refused = installation.run_here("labels", "import", str(installation.folder / name))
    assert told in fails_in_one_line(refused)
    assert not installation.home.exists()
    fails_in_one_line(installation.run_here("import-sqlite", str(installation.folder / name)))
    assert not installation.home.exists()


def test_a_database_of_ratings_on_another_scale_leaves_nothing_where_there_was_no_home(
    installation: Installation,
) -> None:
    database = installation.folder / "posts.db"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE thread_ops (thread_id INTEGER, created_at TEXT)")
        connection.execute("CREATE TABLE training_labels (thread_id, sentiment_rating, labeler_id, labeled_at)")
        rows = [(row["thread_id"], int(row["thread_id"]) % 5 + 1, "ann", row["labeled_at"]) for row in ROWS]
        connection.executemany("INSERT INTO training_labels VALUES (?, ?, ?, ?)", rows)
    assert "scale" in fails_in_one_line(installation.run_here("import-sqlite", str(database)))
    assert not installation.home.exists()


def test_one_label_is_no_plural(installation: Installation) -> None:
    imported = installation.run_here("labels", "import", file(installation, "one.jsonl", ROWS[0]))
    assert "one.jsonl: 1 row: 1 new label, " in imported.stdout
    assert "1 label of 1 post, " in installation.run_here("labels", "stats").stdout


def test_labels_import_of_a_database_names_the_command_for_it(installation: Installation) -> None:
    database = installation.folder / "posts.csv"
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE thread_ops (thread_id INTEGER)")
    refused = installation.run_here("labels", "import", str(database))
    assert f"`bizcharts import-sqlite {database}`" in fails_in_one_line(refused)
    assert not installation.home.exists()


def test_labels_go_in_and_come_out_and_are_counted(installation: Installation) -> None:
    source = file(installation, "a.jsonl", *ROWS, {"thread_id": "x"})
    for new, known in ((12, 0), (0, 12)):
        imported = installation.run_command("labels", "import", source, "--json")
        assert imported.returncode == 0, imported.stderr
        report = json.loads(imported.stdout)
        assert (report["rows"], report["new"], report["known"], len(report["rejected"])) == (13, new, known, 1)
    copy = installation.folder / "b.csv"
    exported = installation.run_command("labels", "export", str(copy))
    assert exported.stdout == f"{copy}: 12 labels, the newest of each labeller and thread\n"
    for words in (("stats", "--json"), ("stats", str(copy), "--json")):
        stats = json.loads(installation.run_command("labels", *words).stdout)
        assert stats["classes"] == {"bearish": 4, "neutral": 4, "bullish": 4}
    text = installation.run_command("labels", "stats").stdout
    assert "12 labels" in text
    assert "12 rated posts have no stored picture" in text
    assert "images.archive" in text
    assert max(map(len, text.splitlines())) <= 80
    (installation.home / "bizcharts.duckdb").write_bytes(b"not a database")
    without = installation.run_command("labels", "stats")
    assert (without.returncode, "picture" in without.stdout) == (0, False)
    assert "Posts without a stored picture are not counted" in without.stderr
    installation.extra["BIZCHARTS_LABELLING__TEXT_ONLY"] = "true"
    assert "picture" not in installation.run_command("labels", "stats").stdout


@pytest.mark.slow
def test_the_worth_of_more_labels_is_that_of_the_newest_curve(with_database: Installation) -> None:
    missing = fails_in_one_line(with_database.run_command("labels", "worth"))
    assert "`bizcharts run training` measures one" in missing
    points = (CurvePoint(60, 0.5, 0.4), CurvePoint(480, 0.62, 0.55))
    curve = LearningCurve("text-a", "ensemble", "a", 600, 5, points, 0.03, 0.005, 0.04, 0.01, datetime(2026, 3, 1))
    with with_database.database.write() as connection:
        append_curve(connection, curve)
    said = with_database.run_command("labels", "worth", "--more", "600").stdout
    assert "600 more labels take about 40 minutes" in said
    assert "+3.0 points (80 %: " in said
    figures = json.loads(with_database.run_command("labels", "worth", "--json").stdout)
    assert (figures["more"], figures["pays"], figures["trainings"]) == (300, True, [])
    assert figures["accuracy"]["lo"] < figures["accuracy"]["value"] < figures["accuracy"]["hi"]
    assert "ask for at most 1,800" in fails_in_one_line(with_database.run_command("labels", "worth", "--more", "1801"))
    with_database.run_command("labels", "import", file(with_database, "a.jsonl", *ROWS))
    assert "300 more labels take" in with_database.run_command("labels", "stats").stdout


def test_a_bad_file_is_one_line_and_status_1(installation: Installation) -> None:
    broken = file(installation, "a.jsonl", {"thread_id": 1}, [2])
    imported = installation.run_command("labels", "import", broken)
    refused = fails_in_one_line(imported)
    assert (
        "none of its rows is a valid label, so nothing was imported: line 1: neither rated nor skipped; line 2"
        in refused
    )
    assert imported.stdout == ""
    installation.run_here("labels", "import", file(installation, "good.jsonl", *ROWS))
    for words in (("import", __file__), ("stats", __file__), ("export", str(installation.folder / "a.xlsx"))):
        failed = installation.run_command("labels", *words)
        assert Path(words[1]).name in fails_in_one_line(failed)
        assert failed.stdout == ""
    assert installation.run_command("labels", "import", "absent.csv").returncode == 2
    assert LabelLedger(installation.home / LEDGER).count() == len(ROWS)


@pytest.mark.slow
def test_an_import_is_listed_and_undone_by_its_number_and_a_named_scale_is_understood(
    installation: Installation,
) -> None:
    rows = [row | {"sentiment_rating": n % 3 - 1} for n, row in enumerate(ROWS)]
    source = file(installation, "a.jsonl", *rows)
    refused = fails_in_one_line(installation.run_command("labels", "import", source))
    assert "--scale -1-1" in refused
    assert installation.run_command("labels", "import", source, "--scale", "1-4").returncode == 2
    imported = installation.run_command("labels", "import", source, "--scale", "-1-1")
    assert "`bizcharts labels undo-import 1` undoes it" in imported.stdout
    for undone in (False, True):
        (listed,) = json.loads(installation.run_command("labels", "imports", "--json").stdout)
        assert (listed["import_id"], listed["file"], listed["labels"], listed["scale"]) == (1, "a.jsonl", 12, "-1-1")
        assert (listed["retracted_at"] is not None) == undone
        assert installation.run_command("labels", "undo-import", "1").returncode == 0
    assert json.loads(installation.run_command("labels", "stats", "--json").stdout)["labels"] == 0
    assert "There is no import 2" in fails_in_one_line(installation.run_command("labels", "undo-import", "2"))
    assert "a.jsonl" in installation.run_command("labels", "imports").stdout
    assert (
        json.loads(installation.run_command("labels", "import", source, "--scale=-1-1", "--json").stdout)["new"] == 12
    )


def test_what_a_run_would_cost_is_told_before_it_costs(with_database: Installation) -> None:
    installation = with_database
    estimate = installation.run_command("labels", "estimate")
    assert estimate.returncode == 0, estimate.stderr
    assert estimate.stdout.strip()
    assert max(map(len, estimate.stdout.splitlines())) <= 80
    assert json.loads(installation.run_command("labels", "estimate", "--json").stdout)["usd_per_run"] == "1.00"


def test_label_explains_itself_and_refuses_days_that_end_before_they_begin(installation: Installation) -> None:
    shown = installation.run_command("label", "--help")
    assert shown.returncode == 0
    for option in ("--port", "--labeller", "--session", "--queue", "--from"):
        assert option in shown.stdout
    refused = installation.run_command("label", "--from", "2026-02-02", "--to", "2026-02-01")
    assert refused.returncode == 2
    assert "--from 2026-02-02 is after --to 2026-02-01" in refused.stderr


@contextmanager
def served(installation: Installation, *words: str) -> Iterator[subprocess.Popen[str]]:
    program = "from bizcharts_pipeline.cli.main import main; main()"
    with subprocess.Popen(
        [sys.executable, "-c", program, "label", *words],
        cwd=REPOSITORY,
        env={**installation.environment(None)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_the_first_line_is_the_address_and_nobody_labels_at_two_servers(with_database: Installation) -> None:
    installation = with_database
    with served(installation, "--port", "0", "--labeller", "ann") as first:
        assert first.stdout
        address = first.stdout.readline()
        assert address.startswith("http://127.0.0.1:")
        assert address.split("?token=")[1].strip()
        port = address.split(":")[2].split("/")[0]
        refused = fails_in_one_line(installation.run_command("label", "--port", "0", "--labeller", "ann"))
        assert f"on port {port}:" in refused
        assert "--labeller" in refused
        with served(installation, "--port", "0", "--labeller", "bob") as other:
            assert other.stdout
            assert other.stdout.readline().startswith("http")
            os.kill(first.pid, signal.SIGKILL)
            first.wait()
            with served(installation, "--port", "0", "--labeller", "ann") as again:
                assert again.stdout
                assert again.stdout.readline().startswith("http")
