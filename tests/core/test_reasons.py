"""What a user reads of Python's own errors."""

import json
import re
from pathlib import Path

import duckdb
import pytest

from bizcharts_pipeline.core.errors import reason_of, without_classes
from bizcharts_pipeline.core.files import read_regular


def test_a_file_that_cannot_be_read_is_named_without_numbers_and_classes(tmp_path: Path) -> None:
    (tmp_path / "text").write_bytes(b"\xff")
    (tmp_path / "folder").mkdir()
    said = []
    for what in (
        lambda: read_regular(tmp_path / "none"),
        lambda: read_regular(tmp_path / "folder"),
        lambda: json.loads("{"),
        lambda: (tmp_path / "text").read_text(encoding="utf-8"),
        lambda: {}["files"],
        lambda: [][1],
        lambda: duckdb.sql("FROM nothing"),
    ):
        with pytest.raises(Exception, match=r".") as caught:
            what()
        said.append(reason_of(caught.value))
    assert said == [
        "none: No such file or directory",
        "folder: it is a folder, not a regular file",
        "it is not JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        "it is not UTF-8",
        "there is no files",
        "it has another structure than expected",
        said[-1],
    ]
    assert said[-1].startswith("Table with name nothing does not exist!")
    assert not [text for text in said if re.search(r"Errno|Error|named pipe|'", text)]


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ("failed: OSError: [Errno 28] No space left on device", "failed: No space left on device"),
        ("dagster._core.errors.DagsterExecutionStepError: a step failed", "a step failed"),
        ("failed: ValueError: 3 is no day", "failed: 3 is no day"),
        ("IO Error: no such file", "IO Error: no such file"),
    ],
)
def test_a_message_names_no_class_of_pythons(message: str, said: str) -> None:
    assert without_classes(message) == said
