"""A key is sent to the host that the settings name for it, encrypted or on this machine, and nowhere else."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from bizcharts_pipeline.autolabel.protocol import Prompt, Question
from bizcharts_pipeline.autolabel.providers import open_providers
from bizcharts_pipeline.core.clock import utc_now
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.models.github import GitHub
from bizcharts_pipeline.pods.providers.runpod import RunPod
from bizcharts_pipeline.prices.rotation import price_rotation
from bizcharts_pipeline.sentiment.bases import find_base
from bizcharts_pipeline.settings import (
    AutoLabelSettings,
    GeminiSettings,
    OpenAISettings,
    PriceSettings,
    Settings,
    SettingsError,
    load_settings,
)

CANARY = "canary-0123456789abcdef"
KEYS = (
    *("COINGECKO_API_KEY", "COINMARKETCAP_API_KEY", "OPENAI_API_KEY", "GEMINI_API_KEY", "RUNPOD_API_KEY"),
    *("GITHUB_TOKEN", "HF_TOKEN"),
)
URLS = ("OPENAI_BASE_URL", "GOOGLE_GEMINI_BASE_URL", "RUNPOD_API_BASE_URL", "HF_ENDPOINT")
PROMPT = Prompt("stance-v1", "Say the stance.", "0" * 64, 50)
QUESTION = Question("1" * 64, "to the moon", None)


class Recorder(ThreadingHTTPServer):
    """Notes all of every request, and redirects it to another host if it is told one."""

    def __init__(self, address: str) -> None:
        super().__init__((address, 0), _Handler)
        self.received: list[str] = []
        self.redirect: tuple[int, str] | None = None
        self.url = f"http://{address}:{self.server_address[1]}"
        Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    server: Recorder

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0)).decode("latin-1")
        self.server.received.append(f"{self.requestline}\n{self.headers}\n{body}")
        status, location = self.server.redirect or (403, "")
        self.send_response(status)
        if location:
            self.send_header("Location", f"{location}{self.path}")
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_DELETE = do_PATCH = do_HEAD = do_GET


@pytest.fixture
def named() -> Iterator[Recorder]:
    """The host that the settings name."""
    server = Recorder("127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def other() -> Iterator[Recorder]:
    """A host that no setting names; its address is none of those that count as this machine."""
    server = Recorder("127.0.0.2")
    yield server
    server.shutdown()
    server.server_close()


def price(source: str) -> Callable[[str, Path], object]:
    def ask(url: str, home: Path) -> object:
        settings = PriceSettings(sources=(source,), coins=("BTC",))
        urls = dict.fromkeys(("coingecko", "binance", "coinmarketcap"), url)
        rotation = price_rotation(home=home, urls=urls, settings=settings, contact="", rate_folder=home)
        return rotation.ask(rotation.sources[0], ["BTC"], utc_now())

    return ask


def price_history(url: str, home: Path) -> object:
    settings = PriceSettings(sources=("coingecko",), coins=("BTC",))
    rotation = price_rotation(home=home, urls={"coingecko": url}, settings=settings, contact="", rate_folder=home)
    day = utc_now().date() - timedelta(days=2)
    return rotation.sources[0].daily("BTC", day, day, utc_now())  # type: ignore[attr-defined]


def label(provider: str, endpoint: str) -> Callable[[str, Path], object]:
    def ask(url: str, home: Path) -> object:
        settings = Settings(
            auto_labels=AutoLabelSettings(providers=(provider,)),
            openai=OpenAISettings(endpoint=endpoint if provider == "openai" else "chat"),
            gemini=GeminiSettings(endpoint="chat"),
        )
        opened = open_providers(settings)[provider]
        try:
            return opened.ask(PROMPT, QUESTION)  # type: ignore[union-attr]
        finally:
            opened.close()

    return ask


def upload(url: str, home: Path) -> object:
    (home / "model.bin").write_bytes(b"weights")
    return GitHub(url, sleep=lambda _: None).upload(f"{url}/upload", home / "model.bin", "application/octet-stream")


def hub(url: str, home: Path) -> object:
    return find_base("nobody/no-such-model", "0" * 40)


ASKED: dict[str, Callable[[str, Path], object]] = {
    "coingecko": price("coingecko"),
    "coingecko history": price_history,
    "coinmarketcap": price("coinmarketcap"),
    "openai chat": label("openai", "chat"),
    "openai decisions": label("openai", "decisions"),
    "gemini": label("gemini", "chat"),
    "runpod rest": lambda url, home: RunPod("rest").find("bizcharts"),
    "runpod graphql": lambda url, home: RunPod("graphql").find("bizcharts"),
    "github": lambda url, home: GitHub(url, sleep=lambda _: None).call("GET", "/repos/a/b"),
    "github post": lambda url, home: GitHub(url, sleep=lambda _: None).call("POST", "/repos/a/b", {"a": 1}),
    "github download": lambda url, home: GitHub(url, sleep=lambda _: None).download("/a", home / "file", 100),
    "github upload": upload,
}


def with_keys(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    for name in KEYS:
        monkeypatch.setenv(name, CANARY)
    for name in URLS:
        monkeypatch.setenv(name, url)
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("status", [302, 307])
@pytest.mark.parametrize("service", ASKED)
def test_a_redirect_to_another_host_never_gets_the_key(
    service: str, status: int, named: Recorder, other: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_keys(monkeypatch, named.url)
    named.redirect = (status, other.url)
    with suppress(BizchartsError):
        ASKED[service](named.url, tmp_path)
    assert CANARY in "".join(named.received)
    assert CANARY not in "".join(other.received)


@pytest.mark.parametrize("service", [*ASKED, "hub"])
def test_a_key_is_refused_in_one_line_before_a_byte_goes_out_where_it_could_be_read_on_its_way(
    service: str, other: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without encryption, to a host that is not this machine."""
    with_keys(monkeypatch, other.url)
    monkeypatch.setenv("BIZCHARTS_HUB_DOWNLOADS", "true")
    with pytest.raises(BizchartsError, match="is not encrypted: a key is sent only by https") as caught:
        (ASKED | {"hub": hub})[service](other.url, tmp_path)
    assert CANARY not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert other.received == []


@pytest.mark.parametrize("service", ["openai chat", "gemini", "runpod rest", "runpod graphql"])
@pytest.mark.parametrize(
    "trick", ["http://127.0.0.2:{port}\\@127.0.0.1", "http://x@127.0.0.2:{port}", "http://127.0.0.1 .evil"]
)
def test_an_address_that_programs_read_differently_gets_no_key(
    service: str, trick: str, other: Recorder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = trick.format(port=other.server_address[1])
    with_keys(monkeypatch, url)
    with pytest.raises(BizchartsError):
        ASKED[service](url, tmp_path)
    assert other.received == []


def test_a_setting_with_such_an_address_is_refused_at_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BIZCHARTS_COINGECKO_URL", "http://evil.example\\@127.0.0.1")
    with pytest.raises(SettingsError, match="backslash"):
        load_settings()
