"""Fixtures that every room shares."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.settings import postgres_words
from bizcharts_pipeline.warehouse.database import Database

if TYPE_CHECKING:
    from collections.abc import Callable

    from buckets import Buckets
    from dagster import DagsterInstance
    from playwright.sync_api import Browser, Page, Playwright
    from postgres import Postgres

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


@pytest.fixture(scope="session", autouse=True)
def _runtime_folder() -> Iterator[None]:
    """The rate limits that fixtures of whole modules keep are neither the developer's nor another process's."""
    with pytest.MonkeyPatch.context() as patch, _short_folder() as folder:
        patch.setenv("XDG_RUNTIME_DIR", folder)
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """A developer's own settings must not reach a test, nor the pause that a server demanded which had its port
    before.
    """
    for name in [name for name in os.environ if name.startswith("BIZCHARTS_")]:
        if name != "BIZCHARTS_SHARED_DATA":
            monkeypatch.delenv(name)
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", "/dev/null")
    monkeypatch.setenv("BIZCHARTS_ENV_FILE", "/dev/null")
    monkeypatch.setenv("BIZCHARTS_HOME", str(tmp_path / "home"))
    with _short_folder() as folder:
        monkeypatch.setenv("XDG_RUNTIME_DIR", folder)
        yield


def _short_folder() -> "tempfile.TemporaryDirectory[str]":
    """A private folder whose path leaves room for the name of a socket."""
    return tempfile.TemporaryDirectory(prefix="bizcharts-", ignore_cleanup_errors=True)


@pytest.fixture
def instance(tmp_path: Path) -> "Iterator[DagsterInstance]":
    """A Dagster instance of its own."""
    import dagster as dg

    folder = tmp_path / "dagster"
    folder.mkdir()
    with dg.instance_for_test(temp_dir=str(folder)) as instance:
        yield instance


@pytest.fixture(scope="session")
def postgres() -> "Iterator[Postgres]":
    """A PostgreSQL server for lakes."""
    from postgres import running_postgres

    with running_postgres() as server:
        yield server


@pytest.fixture(scope="session")
def buckets() -> "Iterator[Buckets]":
    """An S3-compatible service for the files of lakes."""
    from buckets import running_buckets

    with running_buckets() as service:
        yield service


@pytest.fixture
def lake(postgres: "Postgres", tmp_path: Path) -> Database:
    """A lake that does not exist yet."""
    return Database.named(postgres.new_lake(), tmp_path / "home", 30)


@pytest.fixture
def bucket_lake(postgres: "Postgres", buckets: "Buckets", tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Database:
    """A lake with its files in a bucket, that does not exist yet."""
    for name, value in buckets.environment.items():
        monkeypatch.setenv(name, value)
    return Database.named(postgres.new_lake(), tmp_path / "home", 30, buckets.new())


@pytest.fixture(params=["file", "lake", pytest.param("bucket_lake", marks=pytest.mark.slow)])
def either(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    """A database that does not exist yet: a file, then a lake, then one with its files in a bucket."""
    if request.param != "file":
        found: Database = request.getfixturevalue(request.param)
        return found
    return Database.named(str(tmp_path / "bizcharts.duckdb"), None, 60)


@pytest.fixture(params=["file", "lake"])
def new_engine(request: pytest.FixtureRequest) -> "Callable[[], str]":
    """What holds the database and the ledgers of a new installation: nothing, which is files, then a new lake; returns
    its address.
    """
    if request.param == "file":
        return lambda: ""
    server: Postgres = request.getfixturevalue("postgres")
    return server.new_lake


@pytest.fixture
def engine(new_engine: "Callable[[], str]") -> str:
    """What holds the database and the ledgers of the test's only installation; see ``new_engine``."""
    return new_engine()


@pytest.fixture(params=["files", "postgres"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A home whose ledgers are files, then in PostgreSQL; it does not exist yet."""
    folder = tmp_path / "home"
    if request.param == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        keep_in_postgres(folder, postgres_words(server.new_lake()))
    yield folder
    keep_in_postgres(folder, None)


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
