"""What is fuzzed: every reader of input that others make, with valid inputs to start from and the errors it may raise.

A reader may return anything. It may raise its own errors and no other: those are the ones that callers report in one
line, with the evidence kept.
"""

import json
import os
import re
import sqlite3
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from urllib.parse import quote_from_bytes

from api.api_world import api
from images.hostile import FORMATS, sound

from bizcharts_pipeline.archive.errors import ArchiveFormatError
from bizcharts_pipeline.archive.markup import parse_page
from bizcharts_pipeline.autolabel.providers.replies import (
    chat_answer,
    decision_answer,
    first_token_answer,
    gemini_answer,
)
from bizcharts_pipeline.backup import archive as backups
from bizcharts_pipeline.backup.errors import BackupDamaged, NewerBackup
from bizcharts_pipeline.board.client import parse_catalog
from bizcharts_pipeline.board.spool import Poll, Spool
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.demo.archive.server import SimulatedArchive
from bizcharts_pipeline.demo.world import World
from bizcharts_pipeline.endpoints.ledger import EndpointRow
from bizcharts_pipeline.endpoints.queue import job_in
from bizcharts_pipeline.http.errors import CatalogFormatError, CorruptPollError
from bizcharts_pipeline.images.structure import PictureRejected, examine
from bizcharts_pipeline.labels.transfer import read_labels
from bizcharts_pipeline.labels.transfer_rows import LabelFileError
from bizcharts_pipeline.legacy.posts_db import OriginalDatabaseError, read_original
from bizcharts_pipeline.pods import manifest
from bizcharts_pipeline.pods.errors import PodError, TransferError
from bizcharts_pipeline.pods.providers.rest_http import Reply
from bizcharts_pipeline.prices import alternative_me, binance, coingecko, coinmarketcap
from bizcharts_pipeline.prices.quote import PriceFormatError
from bizcharts_pipeline.scoring.jobs import answers_in
from bizcharts_pipeline.settings import REPOSITORY_ROOT, load_settings

NOW = datetime(2026, 3, 2, 12)
SECONDS = int(NOW.replace(tzinfo=UTC).timestamp())
IDS = {"BTC": "bitcoin", "PEPE": "pepe"}
IMAGE_URL = "https://i.example.org"


@dataclass(frozen=True)
class Target:
    """``read`` takes one input, and raises nothing but ``errors``."""

    name: str
    seeds: Sequence[bytes]
    read: Callable[[bytes], object]
    errors: tuple[type[Exception], ...] = ()
    is_json: bool = False  # half of the changes are then made to the document, not to its bytes


@contextmanager
def all_targets(folder: Path) -> Iterator[list[Target]]:
    """Yield every target; their files are in ``folder``, and one of them is served over HTTP meanwhile."""
    with ExitStack() as stack:
        yield [
            *_sources(),
            *_prices(),
            *_models(),
            *_files(folder),
            _settings(folder),
            _parameters(stack, folder),
        ]


def _sources() -> list[Target]:
    world = World(5, NOW - timedelta(days=2), 2, threads_per_day=40)
    entries = [{"page": 1, "threads": world.catalog(NOW)[0]["threads"][:6]}]
    pages = []
    for generation in ("A", "B", "C"):
        board = SimulatedArchive(world, now=NOW, generation=generation)
        number = str(next(iter(sorted(board.ops_of_day((NOW - timedelta(days=1)).date())))))
        asked = [("/biz/", "task=search&offset=0&ghost=yes&search_op=op"), ("/biz/", "task=page&page=1")]
        for path, query in [*asked, (f"/biz/thread/{number}", "")]:
            answer = board.page(path, query)
            assert answer
            pages.append(answer.body)
    pictures = [sound(kind) for kind in FORMATS]
    return [
        Target(
            "catalogue",
            [json.dumps(entries).encode()],
            lambda body: parse_catalog(body, board="biz", image_url=IMAGE_URL),
            (CatalogFormatError,),
            is_json=True,
        ),
        Target("archive page", pages, lambda body: parse_page(body, image_url=IMAGE_URL), (ArchiveFormatError,)),
        Target(
            "picture",
            pictures,
            lambda content: examine(content, max_bytes=2**20, max_pixels=10**6),
            (PictureRejected,),
        ),
    ]


def _prices() -> list[Target]:
    first, last = date(2026, 2, 27), date(2026, 3, 1)
    midnight = 1000 * int(datetime(2026, 2, 28, tzinfo=UTC).timestamp())
    day = 86_400_000
    reference = {"data": [{"value": "40", "value_classification": "Fear", "timestamp": str(SECONDS)}], "metadata": {}}
    tickers = [{"symbol": "BTCUSDT", "price": "67000.10"}, {"symbol": "PEPEUSDT", "price": "0.00001"}]
    candles = [[midnight + n * day, "1", "2", "0.5", "1.5", "9", midnight + (n + 1) * day - 1] for n in range(2)]
    simple = {"bitcoin": {"usd": 67000.5, "last_updated_at": SECONDS}, "pepe": {"usd": 1e-5}}
    chart = {"prices": [[midnight + n * day, 67000.5 + n] for n in range(3)]}
    quoted = {"USD": {"price": 67000.5, "last_updated": "2026-03-02T12:00:00.000Z"}}
    coins = {"status": {"error_code": 0}, "data": {"1": {"id": 1, "symbol": "BTC", "quote": quoted}}}

    def target(name: str, answer: object, read: Callable[[bytes], object]) -> Target:
        errors = (alternative_me.ReferenceFormatError, PriceFormatError)
        return Target(name, [json.dumps(answer).encode()], read, errors, is_json=True)

    return [
        target("reference index", reference, lambda body: alternative_me.parse_reference_index(body, NOW)),
        target("Binance, prices", tickers, lambda body: binance.parse_tickers(body, ["BTC", "PEPE"], NOW)),
        target("Binance, days", candles, lambda body: binance.parse_candles(body, "BTC", first, last)),
        target("CoinGecko, prices", simple, lambda body: coingecko.parse_simple_price(body, IDS, NOW)),
        target("CoinGecko, days", chart, lambda body: coingecko.parse_market_chart(body, "BTC", first, last)),
        target("CoinMarketCap", coins, lambda body: coinmarketcap.parse_quotes(body, {"BTC": "1"}, NOW)),
    ]


def _models() -> list[Target]:
    token = {"token": "bullish", "logprob": -0.1, "top_logprobs": [{"token": "bearish", "logprob": -2.5}]}
    choice = {
        "message": {"content": '{"sentiment": "bullish"}', "refusal": None},
        "finish_reason": "stop",
        "logprobs": {"content": [token]},
    }
    usage = {"prompt_tokens": 100, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 10}}
    chat = {"id": "x", "model": "m", "choices": [choice], "usage": usage}
    first = {**chat, "choices": [{**choice, "message": {"content": "bullish"}}]}
    shares = [{"value": "bullish", "probability": 0.8}, {"value": "neutral", "probability": 0.2}]
    decision = {"model": "m", "answers": [{"type": "choice", "choice": "bullish", "probabilities": shares}]}
    gemini = {
        "candidates": [{"content": {"parts": [{"text": '{"sentiment": "bearish"}'}]}, "finishReason": "STOP"}],
        "usageMetadata": {"promptTokenCount": 50, "candidatesTokenCount": 4},
        "modelVersion": "g",
        "responseId": "r",
    }
    answers = {"answers": {"1": {"status": 200, "body": first}, "2": {"status": 500, "body": None}}, "idle_ms": 5}
    job = {"id": "j", "status": "COMPLETED", "delayTime": 10, "executionTime": 900, "output": answers}
    files = {"files": {"report.json": {"size": 5, "sha256": "a" * 64}, "adapter/x": {"size": 0, "sha256": "b" * 64}}}
    row = EndpointRow("e", "m", "id", Decimal("0.4"), 60, 300, 600)

    def job_of(body: bytes) -> object:
        answered = _json(body)
        return [list(answers_in(job_in(Reply(200, answered)), row))]

    def seeds(document: object) -> list[bytes]:
        return [json.dumps(document).encode()]

    def text(read: Callable[[str], object]) -> Callable[[bytes], object]:
        return lambda body: read(body.decode("utf-8", "replace"))

    return [
        Target("answer of a chat model", seeds(chat), text(chat_answer), is_json=True),
        Target("answer of one token", seeds(first), text(first_token_answer), is_json=True),
        Target("OpenAI decision", seeds(decision), text(decision_answer), is_json=True),
        Target("answer of Gemini", seeds(gemini), text(gemini_answer), is_json=True),
        Target("job of a serverless worker", seeds(job), job_of, (PodError,), is_json=True),
        Target(
            "list of a pod's files",
            seeds(files),
            lambda body: manifest.parse(_json(body)),
            (TransferError,),
            is_json=True,
        ),
    ]


def _json(body: bytes) -> object:
    """Decode as the HTTP clients do before they hand a body on; ``None`` if it is not JSON."""
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _files(folder: Path) -> list[Target]:
    spool = Spool(folder / "spool")
    poll = spool.put(Poll(NOW, 200, NOW, "https://a.example.org/biz/catalog.json", b'[{"page":1,"threads":[]}]', None))
    compressed = poll.read_bytes()

    def read_poll(content: bytes) -> object:
        poll.write_bytes(content)
        return spool.read(poll)

    def reader(name: str, read: Callable[[Path], object]) -> Callable[[bytes], object]:
        path = folder / name

        def write_and_read(content: bytes) -> object:
            path.write_bytes(content)
            return read(path)

        return write_and_read

    def read_posts(path: Path) -> object:
        original = read_original(path)
        return list(original.threads()), list(original.snapshots()), list(original.labels())

    header = b"thread_id,labeler_id,sentiment_rating,labeled_at,text_snapshot,notes\n"
    csv = header + b'61000001,ann,3,2026-03-01T13:00:00Z,"a, ""b""\nc",n\n61000003,bob,1,2026-03-01 12:00:00,,\n'
    line = {"thread_id": 61000001, "labeler_id": "ann", "sentiment_rating": 2, "labeled_at": "2026-03-01T13:00:00"}
    jsonl = b"".join(json.dumps(line | {"thread_id": 61000001 + n}).encode() + b"\n" for n in range(3))
    dump = (
        b"BEGIN TRANSACTION;\nCREATE TABLE training_labels (id INTEGER PRIMARY KEY, thread_id INTEGER, "
        b"sentiment_rating INTEGER, labeler_id TEXT, labeled_at TEXT);\n"
        b"INSERT INTO training_labels VALUES(1,61000001,3,'ann','2026-03-01 12:00:00');\nCOMMIT;\n"
    )
    return [
        Target("spooled poll", [compressed], read_poll, (CorruptPollError,)),
        Target("labels, CSV", [csv], reader("labels.csv", read_labels), (LabelFileError,)),
        Target("labels, JSON lines", [jsonl], reader("labels.jsonl", read_labels), (LabelFileError,)),
        Target("labels, SQL dump", [dump], reader("labels.sql", read_labels), (LabelFileError,)),
        Target("posts.db", [_posts_db(folder)], reader("posts.db", read_posts), (OriginalDatabaseError,)),
        Target("backup", [_backup(folder)], reader("x.backup", backups.read), (BackupDamaged, NewerBackup)),
    ]


def _posts_db(folder: Path) -> bytes:
    path = folder / "seed.db"
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(
            "PRAGMA page_size = 512;"
            "CREATE TABLE thread_ops (thread_id INTEGER PRIMARY KEY, subject TEXT, op_text TEXT, board TEXT,"
            "created_at INTEGER, first_seen_at DATETIME, last_seen_at DATETIME, reply_count INTEGER, source TEXT);"
            "CREATE TABLE training_labels (id INTEGER PRIMARY KEY, thread_id, sentiment_rating, "
            "labeler_id, labeled_at); CREATE TABLE catalog_snapshots (snapshot_at, total_threads, top_coins);"
            "INSERT INTO thread_ops VALUES (5, 's', 'text', 'biz', 1700000000, '2023-11-14 22:14:00', "
            "'2023-11-15 01:00:00.25', 7, 'live'); INSERT INTO training_labels VALUES (1, 5, 3, 'ann', "
            "'2023-11-15 02:00:00'); INSERT INTO catalog_snapshots VALUES ('2023-11-15 02:00:00', 150, '{\"BTC\": 3}');"
        )
    return path.read_bytes()


def _backup(folder: Path) -> bytes:
    path = folder / "seed.backup"
    with path.open("wb") as file:
        writer = backups.Writer(file)
        source = folder / "model.json"
        source.write_bytes(b'{"kind": "lexicon"}')
        writer.add("models/m/artifact.json", source)
        writer.finish({"made_at": NOW.isoformat()})
    assert tarfile.is_tarfile(path)
    return path.read_bytes()


def _settings(folder: Path) -> Target:
    example = (REPOSITORY_ROOT / "settings.example.toml").read_bytes()
    filled = re.sub(rb"(?m)^# ?(?=[a-z_]+ = |\[)", b"", example)
    path = folder / "settings.toml"

    def read(content: bytes) -> object:
        path.write_bytes(content)
        before = dict(os.environ)
        os.environ["BIZCHARTS_SETTINGS_FILE"] = str(path)
        try:
            return load_settings()
        finally:
            os.environ.clear()
            os.environ.update(before)

    short = b'[fear_greed]\nhistory_days = 365\n[pods]\ngpus = ["A"]\nusd_per_run = "5"\n[serve]\nhosts = ["x"]\n'
    return Target("settings file", [short, filled, example], read, (BizchartsError,))


def _parameters(stack: ExitStack, folder: Path) -> Target:
    served = stack.enter_context(api(folder / "api.duckdb"))
    queries = [
        b"/v1/index?bucket=hour&from=2026-03-02T00:00:00Z&limit=5&as_of=2026-03-04T00:00:00Z",
        b"/v1/coins?bucket=day&as_of=2026-03-04",
        b"/v1/coins/BTC?bucket=hour&limit=3",
        b"/v1/candles?timeframe=4h&from=2026-03-02&to=2026-03-04&limit=10",
        b"/v1/badge.svg?bucket=day",
        b"/v1/feed.atom?bucket=hour",
        b"/v1/generals?days=7",
        b"/v1/health",
    ]

    def ask(query: bytes) -> object:
        path, _, parameters = query.partition(b"?")
        safe = "/?=&%+:"
        answer = served.get(f"/{quote_from_bytes(path, safe).lstrip('/')}?{quote_from_bytes(parameters, safe)}"[:4_000])
        assert answer.status < 500 or answer.status == 503, (answer.status, answer.body[:300])
        return answer.status

    return Target("parameters of the API", queries, ask)
