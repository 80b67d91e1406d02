from datetime import datetime
from pathlib import Path

import pytest

from bizcharts_pipeline.core.moved_databases import FILE, DatabaseMoved, record_move, refuse_moved

NOW = datetime(2026, 11, 30, 12)


def test_each_database_that_was_left_is_refused_and_the_last_one_is_not(tmp_path: Path) -> None:
    refuse_moved(tmp_path, "a")
    record_move(tmp_path, "a", "lake", NOW)
    record_move(tmp_path, "lake", "b", NOW)
    for left, target in (("a", "lake"), ("lake", "b")):
        with pytest.raises(DatabaseMoved, match=f"{left} was copied to {target} at 2026-11-30T12:00:00 UTC"):
            refuse_moved(tmp_path, left)
    refuse_moved(tmp_path, "b")
    record_move(tmp_path, "b", "a", NOW)
    refuse_moved(tmp_path, "a")


@pytest.mark.parametrize("content", [b"", b"[]", b'{"a": 1}', b'{"a": {"at": "x"}}', b"\xff"])
def test_a_damaged_record_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DatabaseMoved, match=f"{FILE} cannot be read"):
        refuse_moved(tmp_path, "a")


def test_a_home_that_is_missing_or_a_file_has_moved_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse_moved(tmp_path / "missing", "a")
    refuse_moved(tmp_path / "file", "a")
