"""docs/security.md promises nothing that no test holds."""

import re
from pathlib import Path

TESTS = Path(__file__).parent
DOCUMENT = TESTS.parent / "docs" / "security.md"


def test_each_promise_of_the_security_document_names_tests_that_exist() -> None:
    there = {
        name for file in TESTS.rglob("test_*.py") for name in re.findall(r"^def (test_\w+)", file.read_text(), re.M)
    }
    defended = DOCUMENT.read_text().partition("## What is defended")[2].partition("## What is not defended")[0]
    promises = re.split(r"^\* ", defended, flags=re.M)[1:]
    assert len(promises) > 20
    for promise in promises:
        sentence = promise.partition("\n\n")[0]
        named = re.findall(r"`(test_\w+)`", sentence)
        assert named, sentence
        assert set(named) <= there, sentence


def test_readme_and_operating_link_the_security_document() -> None:
    assert "docs/security.md" in (TESTS.parent / "README.md").read_text()
    assert "(security.md)" in (TESTS.parent / "docs" / "operating.md").read_text()
