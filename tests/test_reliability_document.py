"""docs/reliability.md says what the marks of the tests say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.mark.slow
def test_the_fault_matrix_is_what_the_tests_prove() -> None:
    code = "from tools.reliability import DOCUMENT, proofs, with_matrix; text = DOCUMENT.read_text('utf-8'); "
    code += "assert text == with_matrix(text, proofs()), 'run: python -m tools.reliability'"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
