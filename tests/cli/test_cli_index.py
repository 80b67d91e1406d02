"""``bizcharts index`` and ``bizcharts coins`` print what the tables hold, for people and for programs."""

import csv
import io
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World

NOW = datetime(2026, 3, 2, 12, 0)
CURRENT = "QUALIFY row_number() OVER (PARTITION BY bucket_start, {key} ORDER BY computed_at DESC) = 1"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        yield Installation(tmp_path, board.url)


def test_the_index_command_prints_the_current_vintages_of_the_table(installation: Installation) -> None:
    assert installation.run_command("poll", "--once", now=NOW).returncode == 0
    expected = installation.query(
        "SELECT bucket_start, stance, n FROM fear_greed_index WHERE bucket = 'hour' "
        + CURRENT.format(key="bucket")
        + " ORDER BY bucket_start DESC"
    )
    printed = json.loads(installation.run_command("index", "--hours", "1000", "--json").stdout)
    assert [(datetime.fromisoformat(row["bucket_start"]), row["stance"], row["n"]) for row in printed] == expected
    assert expected
    rows = list(csv.DictReader(io.StringIO(installation.run_command("index", "--hours", "1000", "--csv").stdout)))
    assert [
        (datetime.fromisoformat(row["bucket_start"]), float(row["stance"]), int(row["n"])) for row in rows
    ] == expected
    shown = installation.run_command("index").stdout
    assert "2026-03-02 *" in shown
    assert f"Stance {expected[0][1]:+.2f} (" in shown
    assert "calibrating: no index yet, 59 more days of history needed" in shown
    assert not [line for line in shown.splitlines() if "Fear" in line or "Greed" in line]
    assert max(map(len, shown.splitlines())) <= 80


def test_the_coins_command_prints_the_newest_day_of_the_table(installation: Installation) -> None:
    assert installation.run_command("poll", "--once", now=NOW).returncode == 0
    expected = installation.query(
        "SELECT coin_symbol, mentions, score FROM coin_sentiment WHERE bucket = 'day' AND bucket_start = '2026-03-02' "
        + CURRENT.format(key="coin_symbol")
        + " ORDER BY mentions DESC, coin_symbol LIMIT 5"
    )
    printed = json.loads(installation.run_command("coins", "--max", "5", "--json").stdout)
    assert [(row["coin_symbol"], row["mentions"], row["score"]) for row in printed] == expected
    assert len(expected) == 5
    assert expected[0][0] in installation.run_command("coins", "--max", "5").stdout


def test_two_formats_at_once_or_two_spans_are_bad_usage(installation: Installation) -> None:
    for arguments in (
        ["index", "--days", "3", "--hours", "3"],
        ["index", "--json", "--csv"],
        ["coins", "--json", "--csv"],
    ):
        refused = installation.run_command(*arguments)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert "give one of" in refused.stderr
