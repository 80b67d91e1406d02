"""A named pipe in place of a file makes a command refuse; its reader would wait for ever."""

import os
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import open_regular, regular_only
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.settings import load_settings

NOW = datetime(2026, 3, 2, 12, 0)
CSV = "thread_id,sentiment_rating,labeler_id,labeled_at\n1,3,me,2026-03-01 10:00:00\n"
# A file of the home, and the commands that read it.
READ_BY = {
    "bizcharts.duckdb": ("stats", "repair"),
    "bizcharts.duckdb.closed": ("poll --once", "stats"),
    "bizcharts.duckdb.changed": ("repair", "backup {copy}"),
    "bizcharts.duckdb.wal": ("poll --once", "stats"),
    "bizcharts.duckdb.lock": ("stats",),
    "bizcharts.duckdb.checkpoint": ("poll --once",),
    "bizcharts.duckdb.restoring": ("poll --once",),
    "installation.json": ("stats",),
    "attempts/poll-x.txt": ("health",),
    "spool/20260302T000000.000000-1-2.poll.gz": ("poll --once",),
    "ledgers/labels.sqlite": ("labels stats", "repair"),
    "ledgers/labels.sqlite.seal": ("labels stats", "backup {copy}"),
    "ledgers/labels.sqlite.lock": ("labels stats",),
    "ledgers/labels.sqlite-wal": ("labels stats", "repair"),
    "ledgers/labels.sqlite-journal": ("labels stats", "repair", "backup {copy}"),
    "ledgers/pods.sqlite.seal": ("pods list",),
}


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder = tmp_path_factory.mktemp("pipes")
    labels = folder / "labels.csv"
    labels.write_text(CSV)
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        made = Installation(folder, board.url, extra={"BIZCHARTS_POD_PROVIDER": "local"})
        assert made.run_here("poll", "--once", now=NOW).returncode == 0
        assert made.run_here("labels", "import", str(labels)).returncode == 0
        assert made.run_here("pods", "list").returncode == 0
        yield made


@pytest.mark.parametrize(("file", "commands"), READ_BY.items(), ids=READ_BY)
def test_no_command_waits_for_a_pipe_in_a_files_place(
    installation: Installation, tmp_path: Path, file: str, commands: tuple[str, ...]
) -> None:
    path, kept = installation.home / file, tmp_path / "kept"
    path.parent.mkdir(exist_ok=True)
    for command in commands:
        if path.exists():
            path.rename(kept)
        os.mkfifo(path)
        try:
            done = installation.run_command(*command.format(copy=tmp_path / "copy").split(), now=NOW)
        finally:
            path.unlink(missing_ok=True)
            if kept.exists():
                kept.rename(path)
        assert "Traceback" not in done.stderr
        assert "unexpected" not in done.stderr


def test_only_regular_files_are_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero"), tmp_path):
        with pytest.raises(OSError, match="not a regular file"):
            open_regular(path)
    for flags in (os.O_RDWR | os.O_CREAT, os.O_WRONLY):
        with pytest.raises(OSError, match="pipe"):
            os.close(regular_only(tmp_path / "pipe", flags))
    os.close(regular_only(tmp_path / "new", os.O_RDWR | os.O_CREAT))
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "command",
    ["labels import {}", "labels stats {}", "labels export {}", "import-sqlite {}", "restore {}", "snapshot {}"],
)
def test_no_command_reads_a_pipe_or_a_device_that_is_given_as_a_file(
    installation: Installation, tmp_path: Path, command: str
) -> None:
    pipe, device = tmp_path / "pipe.csv", tmp_path / "device.csv"
    os.mkfifo(pipe)
    device.symlink_to("/dev/zero")
    for path in (pipe, device):
        done = installation.run_here(*command.format(path).split())
        assert done.returncode == 2
        assert "regular file" in done.stderr
        assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("variable", ["BIZCHARTS_ENV_FILE", "BIZCHARTS_SETTINGS_FILE"])
def test_a_configuration_file_that_never_ends_is_refused(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for path in (pipe, Path("/dev/zero"), tmp_path):
        monkeypatch.setenv(variable, str(path))
        with pytest.raises(BizchartsError, match="not a regular file"):
            load_settings()
    monkeypatch.setenv(variable, os.devnull)
    load_settings()
