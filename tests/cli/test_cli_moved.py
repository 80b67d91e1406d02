"""``bizcharts moved`` prints contributions that add up, for people and for programs, and strangers' words made safe."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World

NOW = datetime(2026, 3, 2, 12, 0)
LONG = "rlo \u202e bell \x07 " + "x" * 200
SLUR = "n" + "igger"


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        yield Installation(tmp_path, board.url)


@pytest.mark.slow
def test_the_contributions_are_printed_and_add_up(installation: Installation) -> None:
    assert installation.run_command("poll", "--once", now=NOW).returncode == 0
    (first,) = installation.query("SELECT min(bucket_start) FROM fear_greed_index WHERE bucket = 'hour'")[0]
    start = (first + timedelta(hours=2)).isoformat()
    printed = installation.run_command("moved", "--from", start, "--json", now=NOW)
    assert printed.returncode == 0, printed.stderr
    change = json.loads(printed.stdout)
    parts = [change[name]["effect"] for name in ("came", "left", "reweighted", "memory", "filters", "model")]
    assert sum(parts) == pytest.approx(change["stance_to"] - change["stance_from"], abs=1e-9)
    assert (change["start"], change["end"]) == (start, NOW.isoformat())
    newest = "SELECT stance FROM fear_greed_index WHERE bucket = 'hour' ORDER BY bucket_start DESC LIMIT 1"
    assert installation.query(newest)[0][0] == pytest.approx(change["stance_to"], abs=1e-9)

    thread = change["threads"][0]["thread_id"]
    with installation.database.write() as connection:
        connection.execute(
            f"UPDATE thread_ops SET subject = '{SLUR}', op_text_clean = ? WHERE thread_id = {thread}", [LONG]
        )
    shown = installation.run_command("moved", "--from", start, now=NOW).stdout
    assert f"{change['came']['effect']:+.4f}" in shown
    assert f"https://boards.4chan.org/biz/thread/{thread}" in shown
    assert shown.count("not due to a thread") == 3  # each view adds up
    assert not {"\u202e", "\x07"} & set(shown)
    assert SLUR not in shown
    (excerpt,) = [line for line in shown.splitlines() if line.startswith(f"{thread}  ")]
    assert len(excerpt) > 70
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.slow
def test_without_a_stored_state_the_answer_comes_and_nothing_is_registered(installation: Installation) -> None:
    assert installation.run_command("poll", "--once", now=NOW).returncode == 0
    with installation.database.write() as connection:
        connection.execute("DELETE FROM index_states")
        connection.execute("DELETE FROM model_versions")
    start = (NOW - timedelta(minutes=30)).isoformat()
    printed = installation.run_command("moved", "--from", start, now=NOW)
    assert printed.returncode == 0, printed.stderr
    assert installation.query("SELECT count(*) FROM model_versions") == [(0,)]


@pytest.mark.slow
def test_moments_that_make_no_sense_are_bad_usage(installation: Installation) -> None:
    assert installation.run_command("poll", "--once", now=NOW).returncode == 0
    for arguments, said in (
        (["--from", "soon"], "is no ISO 8601 time"),
        (["--to", "2026-03-03T00:00"], "is in the future"),
        (["--as-of", "2026-03-03T00:00"], "is in the future"),
        (["--from", "2026-03-02T12:00", "--to", "2026-03-02T11:00"], "is after --to"),
    ):
        refused = installation.run_command("moved", *arguments, now=NOW)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr
    last_day = installation.run_command("moved", now=NOW)
    assert "there is no reading at or before 2026-03-01 12:00 UTC" in last_day.stderr  # the default
    early = installation.run_command("moved", "--to", "2020-01-01T00:00", now=NOW)
    assert (early.returncode, early.stdout) == (1, "")
    assert "there is no reading at or before" in early.stderr
