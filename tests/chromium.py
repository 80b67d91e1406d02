"""Where Chromium is, for the tests that drive a real browser."""

import os
import shutil

import pytest


def chromium() -> str:
    """Return the program's path; skip the test where there is none, and fail it in CI."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        reason = "no Chromium; install the system's package chromium"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return found
