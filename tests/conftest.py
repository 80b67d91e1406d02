"""Fixtures that every room shares."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real captures and labels beside the repository; they carry no licence to be part of it."""
    folder = Path(os.environ.get("BIZCHARTS_SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
    if not folder.is_dir():
        reason = f"no real captures at {folder}; set BIZCHARTS_SHARED_DATA to where they are"
        if os.environ.get("CI"):
            pytest.fail(reason)
        pytest.skip(reason)
    return folder


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A developer's own settings must not reach a test."""
    for name in [name for name in os.environ if name.startswith("BIZCHARTS_")]:
        if name != "BIZCHARTS_SHARED_DATA":
            monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", "/dev/null")
    monkeypatch.setenv("BIZCHARTS_ENV_FILE", "/dev/null")
    monkeypatch.setenv("BIZCHARTS_HOME", str(tmp_path / "home"))
