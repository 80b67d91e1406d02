"""Every setting: typed, from the environment (``BIZCHARTS_…``), then from ``settings.toml``, then its default."""

import os
import tomllib
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import AnyHttpUrl, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from pydantic.functional_validators import AfterValidator

from bizcharts_pipeline.errors import BizchartsError

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent
FOURCHAN_MINIMUM_SECONDS = 1.0
PREFIX = "BIZCHARTS_"
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
_HTTP_URL = TypeAdapter(AnyHttpUrl)


class SettingsError(BizchartsError):
    """A setting has a value that is not allowed."""


def _http_url(text: str) -> str:
    if _HTTP_URL.validate_python(text).username:
        raise ValueError("a user name or password in a URL would be shown and stored; leave it out")
    return text.rstrip("/")


HttpUrl = Annotated[str, AfterValidator(_http_url)]


class FearGreedSettings(BaseModel):
    """The index's parameters (``[fear_greed]``); docs/methodology.md has the formulas they stand in.

    Changing one changes every value that is computed from then on: published values stay as they are, and the
    ``history`` job appends corrected vintages beside them.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    window_hours: int = Field(24, ge=1, le=168, description="posts of so many hours make a reading of the market")
    coin_window_hours: int = Field(48, ge=1, le=168, description="posts of so many hours make a reading of a coin")
    recency_half_life_hours: float = Field(12, gt=0, description="a post's weight halves in this time")
    cluster_share_cap: float = Field(
        0.05, gt=0, le=1, description="most of the weight one group of duplicates may hold"
    )
    shrinkage_posts: float = Field(10, ge=0, description="posts' worth of pull towards the last 30 days' mean")
    coin_shrinkage_posts: float = Field(15, ge=0, description="posts' worth of pull of a coin towards the market")
    smoothing_half_life_hours: float = Field(24, gt=0, description="half-life of the exponential smoothing")
    history_days: int = Field(365, ge=60, description="the past that a value is ranked in")
    minimum_history_days: int = Field(60, ge=2, description="below so many daily points the index is calibrating")
    no_reading_below: float = Field(15, ge=0, description="effective sample size below which there is no value")
    thin_below: float = Field(30, ge=0, description="effective sample size below which a value is marked thin")
    spam_cut: float = Field(0.8, ge=0, le=1, description="posts with at least this spam score are left out")
    interval: float = Field(0.90, gt=0, lt=1, description="probability mass of lo to hi")
    replicates: int = Field(1000, ge=100, le=10_000, description="bootstrap replicates behind lo and hi")

    @model_validator(mode="after")
    def _ordered(self) -> "FearGreedSettings":
        if self.thin_below < self.no_reading_below:
            raise ValueError("thin_below must not be less than no_reading_below")
        if self.minimum_history_days > self.history_days:
            raise ValueError("minimum_history_days must not be more than history_days")
        return self


class Settings(BaseModel):
    """All settings of one installation. Immutable; read once by :func:`load_settings`."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    home: Path = Field(
        Path("data"), description="database, images, models, ledgers, exports; relative to the repository"
    )
    database: str = Field("", description="path of the DuckDB file; empty: bizcharts.duckdb in the home")
    database_wait_seconds: float = Field(
        60, gt=0, description="how long to wait for a database that somebody holds open"
    )
    board: str = Field("biz", pattern=r"^[a-z0-9]{1,10}$", description="the board to read")
    contact: str = Field(
        "", max_length=200, pattern=r"^[\x20-\x7e]*$", description="e-mail or URL put into the User-Agent"
    )
    fourchan_api_url: HttpUrl = Field("https://a.4cdn.org", description="host of the catalogue JSON")
    fourchan_image_url: HttpUrl = Field("https://i.4cdn.org", description="host of the pictures")
    fourchan_seconds_per_request: float = Field(
        FOURCHAN_MINIMUM_SECONDS,
        ge=0,
        description="least time between two requests; below 1 only for loopback",
    )
    fear_greed: FearGreedSettings = Field(FearGreedSettings(), description="the index's parameters")

    @model_validator(mode="after")
    def _polite(self) -> "Settings":
        if self.fourchan_seconds_per_request < FOURCHAN_MINIMUM_SECONDS and not is_loopback(self.fourchan_api_url):
            raise ValueError(
                f"fourchan_seconds_per_request must be at least {FOURCHAN_MINIMUM_SECONDS:g} (the API's rule) "
                "unless fourchan_api_url is a loopback address"
            )
        return self

    @cached_property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return (REPOSITORY_ROOT / self.home.expanduser()).resolve()

    @cached_property
    def database_path(self) -> Path:
        """The DuckDB file as an absolute path."""
        return (REPOSITORY_ROOT / Path(self.database or self.home_path / "bizcharts.duckdb").expanduser()).resolve()


def settings_file() -> Path:
    """Where ``settings.toml`` is looked for: ``BIZCHARTS_SETTINGS_FILE``, or the repository root."""
    return Path(os.environ.get("BIZCHARTS_SETTINGS_FILE") or REPOSITORY_ROOT / "settings.toml")


def is_loopback(url: str) -> bool:
    """Whether ``url`` names this machine itself."""
    return (urlsplit(url).hostname or "") in _LOOPBACK_HOSTS


def load_settings(**overrides: Any) -> Settings:
    """Read the settings; ``overrides`` win over every source.

    The mapping is plain enough to be done here: the library for it costs every minutely run 60 ms of import.

    Raises:
        SettingsError: a value is not allowed; names each setting and what is allowed.
    """
    values = _from_file(settings_file()) | _from_environment(Settings, PREFIX)
    section = _from_environment(FearGreedSettings, f"{PREFIX}FEAR_GREED__")
    if section and isinstance(in_file := values.get("fear_greed", {}), dict):
        values["fear_greed"] = in_file | section
    try:
        settings = Settings.model_validate(values | overrides)
    except ValidationError as error:
        problems = "; ".join(_problem(dict(problem)) for problem in error.errors())
        raise SettingsError(f"Bad settings (environment or {settings_file()}): {problems}") from None
    if settings.database.startswith(("ducklake:", "md:")):
        raise SettingsError("BIZCHARTS_DATABASE: only DuckDB files are supported so far; give the path of one")
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (ValueError, OSError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {error}") from None


def _from_environment(model: type[BaseModel], prefix: str) -> dict[str, Any]:
    """Return the fields of ``model`` that the environment has under ``prefix`` and the name in capitals.

    An empty variable counts as none: that is how a line of an ``.env`` file is left open.
    """
    return {name: value for name in model.model_fields if (value := os.environ.get(prefix + name.upper()))}


def _problem(problem: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message = "unknown setting" if problem["type"] == "extra_forbidden" else str(problem["msg"])
    message = message.removeprefix("Value error, ")
    return f"{name}: {message}" if name else message
