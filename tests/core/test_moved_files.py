from datetime import datetime
from pathlib import Path

import pytest

from bizcharts_pipeline.core.moved import (
    DatabaseMoved,
    moved,
    note_path,
    read_note,
    refuse_moved,
    unfinished,
    write_note,
)

NOW = datetime(2026, 11, 30, 12)


def test_a_file_with_a_note_is_refused_and_the_note_says_where_it_went(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    refuse_moved(file)
    assert read_note(file) is None
    lake = "ducklake:postgres:dbname=x"
    note = moved(str(file), lake, NOW)
    write_note(file, note)
    assert read_note(file) == note
    assert note.target == lake
    with pytest.raises(
        DatabaseMoved, match=r"a\.duckdb was moved to ducklake:postgres:dbname=x at 2026-11-30 12:00:00 UTC"
    ):
        refuse_moved(file)


def test_a_file_that_is_not_filled_yet_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "a.duckdb"
    note = unfinished("ducklake:postgres:dbname=x", str(file), "the home /a on b (move 1)")
    write_note(file, note)
    assert read_note(file) == note
    assert note.is_unfinished
    with pytest.raises(DatabaseMoved, match="is not complete: a move from ducklake:postgres:dbname=x has not ended"):
        refuse_moved(file)


@pytest.mark.parametrize("content", [b"", b"[]", b"1", b'{"to": null}', b'{"message": "x"}', b"\xff"])
def test_a_damaged_note_is_an_error_that_names_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "a.duckdb"
    note_path(file).write_bytes(content)
    assert read_note(file) is None
    with pytest.raises(DatabaseMoved, match=r"a\.duckdb\.moved cannot be read"):
        refuse_moved(file)


def test_a_folder_that_is_missing_or_a_file_has_moved_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    refuse_moved(tmp_path / "missing" / "a.duckdb")
    refuse_moved(tmp_path / "file" / "a.duckdb")
