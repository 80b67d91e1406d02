"""Settings: typed, documented, and refused at once when they are wrong."""

import tomllib
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import BaseModel

from bizcharts_pipeline.settings import Settings, SettingsError, load_settings

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
        ("BIZCHARTS_FEAR_GREED__REPLICATES", "many", "fear_greed.replicates"),
        ("BIZCHARTS_DATABASE", "md:cloud", "BIZCHARTS_DATABASE"),
        ("BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST", "inf", "finite"),
        ("BIZCHARTS_FOURCHAN_API_URL", "https://me:secret@a.4cdn.org", "user name or password"),
        ("BIZCHARTS_FEAR_GREED__THIN_BELOW", "3", "thin_below"),
        ("BIZCHARTS_WAROSU_SECONDS_PER_REQUEST", "1", "warosu_seconds_per_request must be at least 2"),
        ("BIZCHARTS_ARCHIVE_START", "long ago", "archive_start"),
        ("BIZCHARTS_PRICE_DATA__SOURCES", "coingecko,kraken", "price_data.sources"),
        ("BIZCHARTS_RETENTION__OBSERVATIONS_HOURLY_DAYS", "3", "observations_hourly_days"),
        ("BIZCHARTS_RETENTION__THREADS_DAYS", "7", "threads_days"),
    ],
)
def test_a_bad_value_is_refused_with_its_name(
    name: str, value: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=says):
        load_settings()


def test_an_unknown_name_in_the_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("bord = 'biz'\n")
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    with pytest.raises(SettingsError, match="bord: unknown setting"):
        load_settings()


def test_a_file_that_is_no_toml_is_refused_with_its_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "settings.toml"
    file.write_text("board = = biz")
    monkeypatch.setenv("BIZCHARTS_SETTINGS_FILE", str(file))
    with pytest.raises(SettingsError, match=r"settings\.toml"):
        load_settings()


def test_an_empty_variable_counts_as_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("BIZCHARTS_HOME", "BIZCHARTS_BOARD", "BIZCHARTS_FEAR_GREED__REPLICATES"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert (str(settings.home), settings.board, settings.fear_greed.replicates) == ("data", "biz", 1000)


def test_faster_polling_is_for_loopback_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_FOURCHAN_SECONDS_PER_REQUEST", "0")
    with pytest.raises(SettingsError, match="loopback"):
        load_settings()
    monkeypatch.setenv("BIZCHARTS_FOURCHAN_API_URL", "http://127.0.0.1:8080/")
    assert load_settings().fourchan_seconds_per_request == 0


def test_a_list_in_the_environment_has_its_items_separated_by_commas(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_PRICE_DATA__COINS", "BTC, XMR")
    assert load_settings().price_data.coins == ("BTC", "XMR")
