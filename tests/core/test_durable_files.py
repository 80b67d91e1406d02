"""Files that a power cut does not lose."""

from pathlib import Path

import pytest

from bizcharts_pipeline.core import files
from bizcharts_pipeline.core.files import write_atomically


def test_the_entries_of_new_folders_are_flushed_with_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[Path] = []
    monkeypatch.setattr(files, "sync", flushed.append)
    write_atomically(tmp_path / "a" / "b" / "file", b"x")
    assert set(flushed) == {tmp_path, tmp_path / "a", tmp_path / "a" / "b"}
    flushed.clear()
    write_atomically(tmp_path / "a" / "b" / "file", b"y")
    assert flushed == [tmp_path / "a" / "b"]
