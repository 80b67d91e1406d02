"""Settings: typed, documented, and refused at once when they are wrong."""

import os
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from bizcharts_pipeline.core.dotenv_file import DotenvError
from bizcharts_pipeline.settings import (
    REPOSITORY_ROOT,
    Settings,
    SettingsError,
    load_environment,
    load_settings,
    settings_file,
)

EXAMPLE = Path(__file__).resolve().parent.parent / "settings.example.toml"


def sections(model: type[BaseModel], prefix: str = "") -> dict[str, type[BaseModel]]:
    """Every section of settings by its name in the file, as ``ml.active_learning``."""
    found = {}
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found |= {prefix + name: field.annotation} | sections(field.annotation, f"{prefix}{name}.")
    return found


def as_toml(default: object) -> object:
    if isinstance(default, Path):
        return str(default)
    if isinstance(default, Decimal):
        return float(default)
    return list(default) if isinstance(default, tuple) else default


def documented(model: type[BaseModel]) -> dict[str, object]:
    return {
        name: documented(field.annotation)
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)
        else as_toml(field.default)
        for name, field in model.model_fields.items()
    }


def test_the_example_file_has_every_setting_with_its_default_and_its_description() -> None:
    text = EXAMPLE.read_text()
    assert tomllib.loads(text) == documented(Settings)
    for name, section in sections(Settings).items():
        assert f"\n[{name}]\n" in text or name == "ml"
        for key, field in section.model_fields.items():
            assert name == "ml" or f"# {field.description}\n{key} = " in text, key
    nested = sections(Settings)
    for key, field in Settings.model_fields.items():
        assert key in nested or f"# {field.description}\n{key} = " in text, key


@pytest.mark.parametrize(
    ("given", "means"),
    [
        ("shared/lake", REPOSITORY_ROOT / "shared/lake"),
        ("/mnt/here/../lake/", Path("/mnt/lake")),
        ("~/lake", Path.home() / "lake"),
        ("s3://bucket/of/the.lake/", "s3://bucket/of/the.lake"),
    ],
)
def test_the_place_of_a_lakes_files_is_the_same_wherever_a_command_is_started(
    given: str, means: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BIZCHARTS_DATABASE_FILES", given)
    assert load_settings().database_files == str(means)


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text('board = "g"\ncontact = "from the file"\n')
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    monkeypatch.setenv("BIZCHARTS_BOARD", "biz")
    settings = load_settings()
    assert (settings.board, settings.contact) == ("biz", "from the file")


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("BIZCHARTS_BOARD", "../etc", "board"),
        ("BIZCHARTS_FOURCHAN_API_URL", "ftp://a.4cdn.org", "fourchan_api_url"),
        ("BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST", "0.5", "at least 1"),
        ("BIZCHARTS_CONTACT", "a\nX-Header: b", "contact"),
        ("BIZCHARTS_FEAR_GREED__WINDOW_HOURS", "many", "fear_greed.window_hours"),
        ("BIZCHARTS_DATABASE", "ducklake:lake.ducklake", "database: of a lake must be ducklake:postgres:"),
        ("BIZCHARTS_DATABASE_FILES", "gs://bucket/lake", "database_files: must be a folder on a disk"),
        ("BIZCHARTS_DATABASE_FILES", "s3://Bucket/lake", "or s3://BUCKET/PREFIX"),
        ("BIZCHARTS_DATABASE_FILES", "s3:/bucket/lake", "or s3://BUCKET/PREFIX"),
        ("BIZCHARTS_DATABASE_FILES", "s3://bucket/../other", "or s3://BUCKET/PREFIX"),
        ("BIZCHARTS_DATABASE_FILES", "s3://bucket/a*/b", "or s3://BUCKET/PREFIX"),
        ("BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST", "inf", "finite"),
        ("BIZCHARTS_FOURCHAN_API_URL", "https://me:secret@a.4cdn.org", "user name or password"),
        ("BIZCHARTS_FOURCHAN_API_URL", "https://:secret@a.4cdn.org", "user name or password"),
        ("BIZCHARTS_FOURCHAN_API_URL", "https://a.example\\@a.4cdn.org", "backslash"),
        ("BIZCHARTS_FEAR_GREED__THIN_BELOW", "3", "thin_below"),
        ("BIZCHARTS_WAROSU_SECONDS_PER_REQUEST", "1", "warosu_seconds_per_request must be at least 2"),
        ("BIZCHARTS_ARCHIVE_START", "long ago", "archive_start"),
        ("BIZCHARTS_PRICE_DATA__SOURCES", "coingecko,kraken", "price_data.sources"),
        ("BIZCHARTS_RETENTION__OBSERVATIONS_HOURLY_DAYS", "3", "observations_hourly_days"),
        ("BIZCHARTS_RETENTION__THREADS_DAYS", "7", "threads_days"),
        ("BIZCHARTS_AUTO_LABELS__USD_PER_RUN", "1e400", "usd_per_run"),
        ("BIZCHARTS_SERVE__HOST", "127.0.0.1:3000", "serve.host: '127.0.0.1:3000' is no IP address; the port is"),
        ("BIZCHARTS_API__HOST", "999.1.1.1", "api.host"),
        ("BIZCHARTS_SERVE__HOST", "a b", "serve.host"),
        ("BIZCHARTS_SERVE__VIEWER_PORT", "3000", "serve: `viewer_port` is that of the Dagster UI"),
        ("BIZCHARTS_HOME", "~nobody-of-this-name/data", "home: there is no user nobody-of-this-name"),
        ("BIZCHARTS_DATABASE", "~nobody-of-this-name/x.duckdb", "database: there is no user nobody-of-this-name"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says) as refused:
        load_settings()
    assert "secret" not in str(refused.value)


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("bord = 'biz'\n")
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    with pytest.raises(SettingsError, match="bord: unknown setting"):
        load_settings()


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ("[serve]\nport = true", "serve.port: must be a number"),
        ("[pods]\nusd_per_run = true", "pods.usd_per_run: must be a number"),
        ("fourchan_seconds_per_request = true", "fourchan_seconds_per_request: must be a number"),
        ("serve = 3000", r"serve: must be a table, \[serve\]"),
    ],
)
def test_a_value_of_another_kind_is_refused_in_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, says: str
) -> None:
    file = tmp_path / "settings.toml"
    file.write_text(line)
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    with pytest.raises(SettingsError, match=f"{says}$"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("board = = biz")
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        load_settings()


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIZCHARTS_HOME", "BIZCHARTS_BOARD", "BIZCHARTS_FEAR_GREED__WINDOW_HOURS"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (str(settings.home), settings.board, settings.fear_greed.window_hours) == ("data", "biz", 24)


def test_faster_polling_is_for_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST", "0")
    with pytest.raises(SettingsError, match="loopback"):
        load_settings()
    monkeypatch.setenv("BIZCHARTS_FOURCHAN_API_URL", "http://127.0.0.1:8080/")
    assert load_settings().fourchan_seconds_per_request == 0


def test_a_list_in_the_environment_has_its_items_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_PRICE_DATA__COINS", "BTC, XMR")
    assert load_settings().price_data.coins == ("BTC", "XMR")


def test_a_table_in_the_environment_is_json(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_OPENAI__PRICES", '{"acme-1": {"input": "1.10", "output": 3.3}}')
    assert load_settings().openai.prices["acme-1"].output == Decimal("3.3")
    for value in ("acme-1=1.10", '["acme-1"]'):
        monkeypatch.setenv("BIZCHARTS_OPENAI__PRICES", value)
        with pytest.raises(SettingsError, match=r"openai\.prices"):
            load_settings()


@pytest.fixture
def dotenv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Path]:
    """Write an `.env`; what it puts into the environment is taken out again."""
    kept = dict(os.environ)

    def write(text: str) -> Path:
        file = tmp_path / ".env"
        file.write_text(text)
        monkeypatch.setenv("BIZCHARTS_ENV_FILE", str(file))
        return file

    monkeypatch.setattr(os, "environ", _Environment(kept))
    return write


class _Environment(dict[str, str]):
    """A copy of the environment, in the place of it."""


def test_dotenv_lies_between_the_environment_and_the_file(
    tmp_path: Path, dotenv: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text('contact = "file"\nboard = "file"\n[images]\nper_run = 3\n')
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(tmp_path / "settings.toml"))
    monkeypatch.setenv("BIZCHARTS_BOARD", "biz")
    dotenv('BIZCHARTS_BOARD=g\nexport BIZCHARTS_CONTACT="dot env"  # mine\nOPENAI_API_KEY=key\n')
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    settings = load_settings()
    assert (settings.board, settings.contact, settings.images.per_run) == ("biz", "dot env", 3)
    assert os.environ["OPENAI_API_KEY"] == "key"


def test_of_three_places_the_first_that_names_a_setting_wins_and_an_empty_variable_hides_dotenv(
    tmp_path: Path, dotenv: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "settings.toml").write_text(
        'contact = "file"\nboard = "file"\n[images]\nper_run = 3\nblur_from = 0.3\nsend_below = 0.3\n'
        '[pods]\nname = "file"\n[ml.training]\nseed = 3\nrank = 3\nalpha = 3\n[serve]\nhosts = ["file"]\n'
    )
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(tmp_path / "settings.toml"))
    in_dotenv = {
        "BIZCHARTS_CONTACT": "dotenv", "BIZCHARTS_BOARD": "dotenv", "BIZCHARTS_IMAGES__PER_RUN": "2",
        "BIZCHARTS_IMAGES__BLUR_FROM": "0.2", "BIZCHARTS_ML__TRAINING__SEED": "2", "BIZCHARTS_ML__TRAINING__RANK": "2",
        "BIZCHARTS_PODS__NAME": "", "OPENAI_API_KEY": "dotenv", "GEMINI_API_KEY": "dotenv", "HF_TOKEN": "dotenv",
    }  # fmt: skip
    in_environment = {
        "BIZCHARTS_CONTACT": "environment", "BIZCHARTS_BOARD": "", "BIZCHARTS_IMAGES__PER_RUN": "1",
        "BIZCHARTS_ML__TRAINING__SEED": "1", "BIZCHARTS_SERVE__HOSTS": "", "OPENAI_API_KEY": "environment",
        "GEMINI_API_KEY": "",
    }  # fmt: skip
    for name in in_dotenv.keys() - in_environment.keys():
        monkeypatch.delenv(name, raising=False)
    for name, value in in_environment.items():
        monkeypatch.setenv(name, value)
    dotenv("".join(f"{name}={value}\n" for name, value in in_dotenv.items()))
    settings = load_settings()
    assert (settings.contact, settings.board) == ("environment", "file")
    assert (settings.images.per_run, settings.images.blur_from, settings.images.send_below) == (1, 0.2, 0.3)
    assert (settings.ml.training.seed, settings.ml.training.rank, settings.ml.training.alpha) == (1, 2, 3)
    assert (settings.pods.name, settings.serve.hosts, settings.serve.port) == ("file", ("file",), 3000)
    keys = ("OPENAI_API_KEY", "GEMINI_API_KEY", "HF_TOKEN")
    assert [os.environ[name] for name in keys] == ["environment", "", "dotenv"]


def test_no_secret_is_read_from_the_settings_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(tmp_path / "settings.toml"))
    for name in ("openai_api_key", "OPENAI_API_KEY", "ui_password", "alert_urls"):
        (tmp_path / "settings.toml").write_text(f'{name} = "sk-12345"\n')
        with pytest.raises(SettingsError, match=r"_(KEY|PASSWORD|URLS) in the environment or in \.env$") as refused:
            load_settings()
        assert "sk-12345" not in str(refused.value)


def test_a_line_of_dotenv_that_is_no_variable_is_named_and_not_repeated(dotenv: Callable[[str], Path]) -> None:
    for line in ("sk-secret", "BIZ CHARTS=sk-secret", "A='sk-secret", "A=sk-secret\0", "BIZCHARTS_BOARD=sk-secret"):
        dotenv(f"BIZCHARTS_BOARD=biz\n{line}\n")
        with pytest.raises(DotenvError, match="line 2") as refused:
            load_settings()
        assert "secret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("BIZCHARTS_IMAGE__LIVE", "BIZCHARTS_IMAGES__LIVE"),
        ("BIZCHARTS_IMAGES_LIVE", "BIZCHARTS_IMAGES__LIVE"),
        ("BIZCHARTS_HOEM", "BIZCHARTS_HOME"),
        ("BIZCHART_HOME", "BIZCHARTS_HOME"),
        ("bizcharts_home", "BIZCHARTS_HOME"),
        ("BIZCHARTS_OPENAI_API_KEY", "did you mean OPENAI_API_KEY"),
        ("BIZCHARTS_XYZZY", "settings.example.toml"),
    ],
)
def test_a_misspelt_variable_is_refused_with_the_nearest_name(
    name: str, meant: str, monkeypatch: pytest.MonkeyPatch, dotenv: Callable[[str], Path]
) -> None:
    monkeypatch.setenv(name, "false")
    with pytest.raises(SettingsError, match=f"{name}: .*{meant}"):
        load_settings()
    monkeypatch.delenv(name)
    dotenv(f"{name}=false\n")
    with pytest.raises(SettingsError, match=f"{name}: .*{meant}"):
        load_settings()


def test_a_misspelt_key_and_a_switch_that_is_neither_on_nor_off_are_refused(
    monkeypatch: pytest.MonkeyPatch, dotenv: Callable[[str], Path]
) -> None:
    dotenv("OPENAI_APIKEY=sk-secret\n")
    with pytest.raises(SettingsError, match="OPENAI_APIKEY: unknown key; did you mean OPENAI_API_KEY") as refused:
        load_settings()
    assert "secret" not in str(refused.value)
    dotenv("")
    for name in ("BIZCHARTS_DEBUG", "BIZCHARTS_HUB_DOWNLOADS"):
        monkeypatch.setenv(name, "maybe")
        with pytest.raises(SettingsError, match=f"{name}: must be true or false"):
            load_settings()
        monkeypatch.setenv(name, "off")


def test_an_unknown_key_in_the_file_is_refused_with_the_nearest_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "settings.toml"
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    for text, meant in (("[images]\nlife = false\n", "images.live"), ("[image]\nlive = false\n", "images")):
        file.write_text(text)
        with pytest.raises(SettingsError, match=rf"did you mean {meant}"):
            load_settings()


@pytest.mark.parametrize("variable", ["BIZCHARTS_SETTINGS_FILE", "BIZCHARTS_ENV_FILE"])
def test_a_file_that_is_named_and_missing_is_refused(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "/no/such/file")
    with pytest.raises(SettingsError, match=f"{variable}: the file /no/such/file does not exist"):
        load_settings()


def test_files_are_found_from_the_repository_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "settings.toml").write_text("no toml")
    (tmp_path / ".env").write_text("BIZCHARTS_BOARD=g\n")
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", "settings.example.toml")
    assert settings_file() == REPOSITORY_ROOT / "settings.example.toml"
    assert load_settings().board == "biz"


def test_a_setting_that_went_with_the_smoothed_average_is_named_as_such(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_FEAR_GREED__REPLICATES", "1000")
    with pytest.raises(SettingsError, match=r"REPLICATES: .*earlier method.*delete it"):
        load_environment()
