"""An API over real HTTP: a database of published rows, a clock that stands, and what strangers may name things."""

import http.client
import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from threading import Thread
from typing import Any

from published_rows import DAY, HOUR, CoinRow, IndexRow, insert_coins, insert_index, published_day, published_hour

from bizcharts_pipeline.api.app import api_app
from bizcharts_pipeline.api.source import Source
from bizcharts_pipeline.service.webserver import allowed_hosts
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.model_previews import SWITCHED, ModelPreview, append_preview

T0 = datetime(2026, 3, 2)  # a Monday
NOW = T0 + 3 * DAY + timedelta(minutes=20)
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    "{{7*7}} ${7*7} [a](javascript:b)",
    "W" * 100_000,
    'a,b\r\n"c"\',--\\',
    "]]></svg>&amp;",
]


def fill(database: DatabaseFile) -> None:
    """72 hours and 3 days that were published as they ended, the running hour, a later vintage, and coins."""
    hours = [published_hour(T0 + n * HOUR, (7 * n) % 101) for n in range(72)]
    later = replace(hours[10], value=99, computed_at=NOW - HOUR, model_version=HOSTILE[0])
    running = IndexRow(T0 + 3 * DAY, NOW, NOW, 60, final=False)
    days = [published_day(T0 + n * DAY, value) for n, value in enumerate((20, 21, 80))]
    coins = [CoinRow(name, T0 + 2 * DAY, NOW, NOW, mentions=place + 1) for place, name in enumerate(HOSTILE)]
    coins += [
        CoinRow("BTC", row.bucket_start, row.computed_at, row.knowable_at, bucket=row.bucket, mentions=40)
        for row in [*hours, *days]
    ]
    with database.write() as connection:
        insert_index(connection, [*hours, later, running, *days])
        insert_coins(connection, coins)
        append_preview(connection, ModelPreview(T0 + HOUR, HOSTILE[0], "lexicon", SWITCHED, None, shift=-7.5))


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def rows(self) -> list[dict[str, Any]]:
        return list(self.json["rows"])

    @property
    def text(self) -> str:
        return self.body.decode()


@dataclass
class Api:
    port: int
    database: DatabaseFile
    now: list[datetime] = field(default_factory=lambda: [NOW])

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, path, headers={"Host": f"127.0.0.1:{self.port}", **sent})
        answer = connection.getresponse()
        found = {name.lower(): value for name, value in answer.getheaders()}
        body = answer.read()
        connection.close()
        return Answer(answer.status, found, body)


@contextmanager
def served(app: Any) -> Iterator[int]:
    """Serve an ASGI application on loopback; yield its port."""
    import uvicorn

    with socket.create_server(("127.0.0.1", 0)) as listener:
        config = uvicorn.Config(app, log_level="critical", lifespan="off", proxy_headers=False, server_header=False)
        program = uvicorn.Server(config)
        thread = Thread(target=program.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            program.should_exit = True
            thread.join()


@contextmanager
def api(
    path: Path, requests_per_minute: int = 100_000, wait_seconds: float = 20, *, filled: bool = True
) -> Iterator[Api]:
    """Serve the API on the database at ``path``, which is made."""
    database = DatabaseFile(path, 20)
    if filled:
        fill(database)
    else:
        database.migrate()
    now = [NOW]
    source = Source(lambda: replace(database, wait_seconds=wait_seconds), FearGreedSettings(), lambda: now[0])
    with served(api_app(source, allowed_hosts("127.0.0.1", ["charts.example.org"]), requests_per_minute)) as port:
        yield Api(port, database, now)
