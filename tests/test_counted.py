"""Numbers of things in texts."""

import pytest

from bizcharts_pipeline.core.counted import counted


@pytest.mark.parametrize(
    ("number", "words", "text"),
    [
        (0, ("row",), "0 rows"),
        (1, ("row",), "1 row"),
        (1_200, ("row",), "1,200 rows"),
        (1, ("hash", "hashes"), "1 hash"),
        (2, ("hash", "hashes"), "2 hashes"),
    ],
)
def test_a_noun_agrees_with_its_number(number: int, words: tuple[str, ...], text: str) -> None:
    assert counted(number, *words) == text
