"""Other users of the machine: what they cannot read, hold or plant."""

import os
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from installation import Installation

from bizcharts_pipeline.core.private import UnsafeFolder, tighten, user_folder
from bizcharts_pipeline.demo.board.server import SimulatedBoard
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.errors import DatabaseUnavailable

NOW = datetime(2026, 3, 2, 12, 0)
CSV = "thread_id,sentiment_rating,labeler_id,labeled_at\n1,3,me,2026-03-01 10:00:00\n"
NOBODY = 65534


@pytest.fixture
def installation(tmp_path: Path) -> Iterator[Installation]:
    with SimulatedBoard(World(7, NOW - timedelta(days=2), 3), now=NOW) as board:
        yield Installation(tmp_path, board.url)


@pytest.fixture
def _usual_umask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


def open_to_others(folder: Path) -> list[str]:
    parts = [folder, *folder.rglob("*")]
    return [str(part) for part in parts if stat.S_IMODE(part.lstat().st_mode) & 0o077 and not part.is_symlink()]


@pytest.mark.slow
@pytest.mark.usefixtures("_usual_umask")
def test_nothing_of_an_installation_is_open_to_others(installation: Installation, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text(CSV)
    installation.run_job("live", NOW)
    assert installation.run_here("labels", "import", str(labels)).returncode == 0
    assert installation.run_here("backup", str(tmp_path / "copy.backup")).returncode == 0
    assert (installation.home / "bizcharts.duckdb").exists()
    assert not open_to_others(installation.home)
    assert not open_to_others(tmp_path / "copy.backup")
    for part in (installation.home, *installation.home.rglob("*")):  # as an older version left them
        part.chmod(0o755 if part.is_dir() else 0o644)
    (installation.home / "models" / "a").mkdir(parents=True)
    installation.run_command("stats")
    assert not open_to_others(installation.home)


def test_what_is_not_ours_alone_keeps_its_modes(tmp_path: Path) -> None:
    shared, target = tmp_path / "shared", tmp_path / "target"
    for folder in (shared, target):
        folder.mkdir()
    shared.chmod(0o1777)
    target.chmod(0o755)
    (tmp_path / "link").symlink_to(target)
    tighten([shared, tmp_path / "link", tmp_path / "missing"], [tmp_path / "link"])
    assert (stat.S_IMODE(shared.stat().st_mode), stat.S_IMODE(target.stat().st_mode)) == (0o1777, 0o755)


def test_a_lock_that_somebody_planted_is_not_followed(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "a.duckdb", 1)
    database.migrate()
    lock = Path(f"{database.path}.lock")
    lock.unlink()
    lock.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(DatabaseUnavailable, match="lock file"), database.write():
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_folder_that_somebody_took_first_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, shared, login = tmp_path / "session", tmp_path / "shared", tmp_path / "login"
    for folder in (session, shared, login):
        folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(shared))
    monkeypatch.setattr("bizcharts_pipeline.core.private._login_home", lambda: login)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(session))
    assert user_folder() == session / "bizcharts"
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "missing"))
    first = user_folder()
    assert first.parent == shared
    first.rmdir()
    first.symlink_to(session)
    assert user_folder() == login / ".cache" / "bizcharts"
    assert stat.S_IMODE(user_folder().stat().st_mode) == 0o700
    user_folder().rmdir()
    user_folder_taken = login / ".cache" / "bizcharts"
    user_folder_taken.touch()
    with pytest.raises(UnsafeFolder, match="remove them, or set TMPDIR"):
        user_folder()


def test_a_home_of_another_user_is_named_as_that(installation: Installation) -> None:
    if os.getuid() != 0 or not shutil.which("setpriv"):
        pytest.skip("needs root and setpriv, to become another user")
    become = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    if subprocess.run([*become, sys.executable, "-c", "import bizcharts_pipeline"], capture_output=True).returncode:
        pytest.skip("another user cannot run this Python")
    with tempfile.TemporaryDirectory() as name:  # pytest closes its own folder to others whenever it starts
        Path(name).chmod(0o755)
        made = replace(installation, folder=Path(name))
        made.home.mkdir(mode=0o700)
        for words in (["poll", "--once"], ["stats"]):
            refused = subprocess.run(
                [*become, sys.executable, "-c", "from bizcharts_pipeline.cli.main import main; main()", *words],
                env=made.environment(NOW),
                cwd="/",
                capture_output=True,
                text=True,
                timeout=120,
            )
            assert (refused.returncode, refused.stderr.count("\n")) == (1, 1), refused
            assert "belongs to user root, and this runs as user" in refused.stderr
