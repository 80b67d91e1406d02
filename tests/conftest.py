"""Fixtures that every room shares."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Playwright

# How long an example takes says more of the machine than of the code.
settings.register_profile("bizcharts", deadline=None)
settings.load_profile("bizcharts")

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


@pytest.fixture(scope="session")
def playwright() -> "Iterator[Playwright]":
    """The one of this process: a second beside it is refused."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        yield playwright


@pytest.fixture(scope="session")
def browser(playwright: "Playwright") -> "Iterator[Browser]":
    """A real browser, headless."""
    from chromium import chromium

    opened = playwright.chromium.launch(executable_path=chromium(), args=["--no-sandbox"])
    yield opened
    opened.close()


@pytest.fixture
def page(browser: "Browser") -> "Iterator[Page]":
    """A page of its own, in which no script may fail."""
    context = browser.new_context(viewport={"width": 1280, "height": 720})
    context.set_default_timeout(20_000)
    page = context.new_page()
    broken: list[str] = []
    page.on("pageerror", lambda error: broken.append(str(error)))
    yield page
    context.close()
    assert broken == []
