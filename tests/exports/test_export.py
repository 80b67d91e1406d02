"""The files of an export hold what the tables hold, whatever strangers named things, and are replaced whole."""

import csv
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, astuple, fields, replace
from datetime import datetime, timedelta
from html.parser import HTMLParser
from io import BytesIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import duckdb
import pytest
from PIL import Image
from published_rows import (
    DAY,
    HOUR,
    CoinRow,
    IndexRow,
    insert_coins,
    insert_index,
    published_day,
    published_hour,
)

from bizcharts_pipeline.core.clock import iso_utc
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.exports.badge import _colours, badge_text, png_badge, svg_badge
from bizcharts_pipeline.exports.dictionary import CANDLES, COINS, INDEX, SWITCHES, times_of
from bizcharts_pipeline.exports.errors import ExportError
from bizcharts_pipeline.exports.write import DICTIONARY, LOCK, MANIFEST, export
from bizcharts_pipeline.settings import FearGreedSettings
from bizcharts_pipeline.warehouse.as_of import Candle, coins_sql, index_sql, newest_reading
from bizcharts_pipeline.warehouse.database_file import DatabaseFile
from bizcharts_pipeline.warehouse.model_previews import (
    SWITCHED,
    ModelPreview,
    ModelSwitch,
    append_preview,
    model_switches,
)
from bizcharts_pipeline.warehouse.published import CoinReading, Reading

T0 = datetime(2026, 3, 2)
NOW = T0 + 3 * DAY
PARAMETERS = FearGreedSettings()
HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\u202egnp.exe",
    "{{7*7}} ${7*7} *a* [a](javascript:b)",
    "W" * 100_000,
    'a,b\r\n"c"\',--',
    "]]></svg>&amp;",
]


@pytest.fixture
def database(tmp_path: Path) -> DatabaseFile:
    database = DatabaseFile(tmp_path / "home.duckdb", 20)
    rows = [published_hour(T0 + n * HOUR, n % 101) for n in range(48)]
    rows += [published_day(T0 + n * DAY, 40 + n) for n in range(2)]
    rows += [replace(rows[3], value=99, computed_at=NOW - DAY, model_version=name) for name in HOSTILE[:1]]
    rows += [replace(published_hour(T0 + 50 * HOUR, 0), state="calibrating", label=None)]
    rows += [IndexRow(T0 + 51 * HOUR, NOW, NOW, 70.25, model_version=HOSTILE[5], final=False)]
    coins = [
        CoinRow(name, T0 + DAY, T0 + 2 * DAY, T0 + 2 * DAY, mentions=place + 1) for place, name in enumerate(HOSTILE)
    ]
    coins += [CoinRow("BTC", T0 + n * HOUR, T0 + (n + 1) * HOUR, T0 + (n + 1) * HOUR, bucket="hour") for n in range(5)]
    with database.write() as connection:
        insert_index(connection, rows)
        insert_coins(connection, coins)
        for at, version, more in (
            (T0 + HOUR, "lexicon", {}),
            (NOW - 2 * DAY, HOSTILE[0], {"shift": -7.5, "shift_lo": -9}),
        ):
            append_preview(connection, ModelPreview(at, version, HOSTILE[5], SWITCHED, None, **more))
    return database


def expected(database: DatabaseFile, name: str, as_of: datetime | None) -> list[tuple[Any, ...]]:
    if name == "model_switches":
        with database.read() as connection:
            return sorted(map(astuple, model_switches(connection, as_of)), key=repr)
    table, bucket = name.split("_")
    query, kind = (index_sql, Reading) if table == "index" else (coins_sql, CoinReading)
    with database.read() as connection:
        rows = connection.execute(query(bucket, as_of)).fetchall()  # type: ignore[arg-type]
    assert {len(row) for row in rows} <= {len(fields(kind))}
    return sorted(rows, key=repr)


def from_parquet(path: Path) -> list[tuple[Any, ...]]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        times = ", ".join(f"{name}::TIMESTAMP AS {name}" for name in times_of(DICTIONARY[path.stem]))
        return connection.execute(f"SELECT * REPLACE ({times}) FROM '{path}'").fetchall()


KINDS: dict[str, Any] = {"index": Reading, "coins": CoinReading, "model": ModelSwitch}


def typed(name: str, row: dict[str, Any]) -> tuple[Any, ...]:
    """A row of a text format with the types of the table's dataclass."""

    def value(of: Any, text: Any) -> Any:
        if text in ("", None):
            return None
        if of in (datetime, datetime | None):
            moment = datetime.fromisoformat(text).replace(tzinfo=None)
            assert text == iso_utc(moment)  # as the API writes it
            return moment
        kind = str(of)
        if "bool" in kind:
            return text in (True, "true")
        return int(text) if "int" in kind else float(text) if "float" in kind else text

    kind = KINDS[name.split("_")[0]]
    return tuple(value(field.type, row[field.name]) for field in fields(kind))


@pytest.mark.parametrize("as_of", [None, T0 + DAY * 1.5])
def test_each_format_holds_what_the_tables_hold(database: DatabaseFile, tmp_path: Path, as_of: datetime | None) -> None:
    folder = tmp_path / "out"
    report = export(database, folder, PARAMETERS, NOW, as_of)
    for name in DICTIONARY:
        rows = expected(database, name, as_of)
        assert report.rows[name] == len(rows)
        assert sorted(from_parquet(folder / f"{name}.parquet"), key=repr) == rows
        with (folder / f"{name}.csv").open(newline="", encoding="utf-8") as file:
            assert sorted((typed(name, row) for row in csv.DictReader(file)), key=repr) == rows
        read = json.loads((folder / f"{name}.json").read_text(encoding="utf-8"))
        assert sorted((typed(name, row) for row in read), key=repr) == rows
    assert report.rows["index_hour"] == (50 if as_of is None else 35)


def test_the_manifest_names_every_file_and_its_hash(database: DatabaseFile, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    export(database, folder, PARAMETERS, NOW, T0 + DAY)
    manifest = json.loads((folder / MANIFEST).read_text())
    there = {path.name for path in folder.iterdir()} - {MANIFEST, LOCK}
    assert set(manifest["files"]) == there
    for name, found in manifest["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == found["sha256"]
    assert (manifest["schema"], manifest["as_of"]) == (1, "2026-03-03T00:00:00Z")
    assert datetime.fromisoformat(manifest["newest_computed_at"]).replace(tzinfo=None) <= T0 + DAY


class Page(HTMLParser):
    """Tags, their attributes, and the text between them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: list[tuple[str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes += attrs

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_report_has_no_script_and_no_foreign_host_whatever_strangers_named_things(
    database: DatabaseFile, tmp_path: Path
) -> None:
    export(database, tmp_path / "out", PARAMETERS, NOW)
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    read = Page(page)
    assert not read.tags & {"script", "img", "iframe", "link", "object", "a", "base", "form"}
    assert not [name for name, _ in read.attributes if name.startswith("on") or name in ("src", "href", "style")]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", page)
    assert "default-src 'none'" in page
    assert "\u202e" not in page
    assert "<script>alert(1)</s…" in read.text
    assert "W" * 50 not in page
    assert len(page) < 100_000
    assert "70 Greed" in read.text
    assert "70 Greed" in (tmp_path / "out" / "badge.svg").read_text(encoding="utf-8")


def test_an_empty_database_gives_empty_tables_and_says_so(tmp_path: Path) -> None:
    database = DatabaseFile(tmp_path / "empty.duckdb", 20)
    database.migrate()
    report = export(database, tmp_path / "out", PARAMETERS, NOW)
    assert set(report.rows.values()) == {0}
    assert json.loads((tmp_path / "out" / "index_day.json").read_text()) == []
    assert "There is no reading yet" in (tmp_path / "out" / "report.html").read_text()
    assert "no data yet" in (tmp_path / "out" / "badge.svg").read_text()


@pytest.mark.fault(
    "SIGKILL", stage="exports", expected="each file whole, the earlier or the new one; the next export clears up"
)
def test_a_killed_export_leaves_the_earlier_files_and_the_next_one_clears_up(
    database: DatabaseFile, tmp_path: Path
) -> None:
    folder = tmp_path / "out"
    export(database, folder, PARAMETERS, NOW, T0 + DAY)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    program = (
        "import os, sys\nfrom datetime import datetime\nfrom pathlib import Path\n"
        "from bizcharts_pipeline.exports import write\nfrom bizcharts_pipeline.settings import FearGreedSettings\n"
        "from bizcharts_pipeline.warehouse.database_file import DatabaseFile\n"
        "write.png_badge = lambda reading: os._exit(9)\n"
        "database, folder = DatabaseFile(Path(sys.argv[1]), 20), Path(sys.argv[2])\n"
        "write.export(database, folder, FearGreedSettings(), datetime(2026, 3, 5))\n"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(database.path), str(folder)], timeout=60)
    assert killed.returncode == 9
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert files == before
    export(database, folder, PARAMETERS, NOW)
    assert [path for path in folder.iterdir() if path.is_dir()] == []
    assert (folder / "index_hour.csv").read_bytes() != before["index_hour.csv"]


def test_a_second_export_to_the_folder_is_refused(database: DatabaseFile, tmp_path: Path) -> None:
    export(database, tmp_path, PARAMETERS, NOW)
    with (tmp_path / LOCK).open() as lock:
        assert try_lock(lock.fileno())
        with pytest.raises(ExportError, match="Another export"):
            export(database, tmp_path, PARAMETERS, NOW)
    (tmp_path / "file").touch()
    with pytest.raises(ExportError, match="no folder"):
        export(database, tmp_path / "file", PARAMETERS, NOW)


def test_a_connection_that_copies_reaches_no_other_folder(database: DatabaseFile, tmp_path: Path) -> None:
    allowed, other = tmp_path / "it's", tmp_path / "it's not"
    allowed.mkdir()
    other.mkdir()
    with database.read(copy_to=allowed) as connection:
        connection.execute("COPY (SELECT 1) TO '" + str(allowed / "a.csv").replace("'", "''") + "'")
        for statement in (
            "COPY (SELECT 1) TO '" + str(other / "a.csv").replace("'", "''") + "'",
            "COPY (SELECT 1) TO '" + str(allowed / ".." / "a.csv").replace("'", "''") + "'",
            "SELECT * FROM read_text('/etc/hostname')",
            "SET enable_external_access = true",
        ):
            with pytest.raises(duckdb.Error):
                connection.execute(statement)
    assert list(other.iterdir()) == []
    assert not (tmp_path / "a.csv").exists()


def test_the_dictionary_names_each_column_that_is_given() -> None:
    for columns, kind in ((INDEX, Reading), (COINS, CoinReading), (CANDLES, Candle), (SWITCHES, ModelSwitch)):
        assert {column.name for column in columns} == {field.name for field in fields(kind)}


def reading(**changes: Any) -> Reading:
    with duckdb.connect() as connection:
        from bizcharts_pipeline.warehouse import migrations

        migrations.apply(connection, migrations.known_migrations(), NOW)
        insert_index(connection, [published_hour(T0, 24)])
        found = newest_reading(connection, "hour")
    assert found
    return Reading(**{**asdict(found), **changes})


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (lambda: None, "no data yet"),
        (lambda: reading(), "24 Extreme Fear"),
        (lambda: reading(value=75.4, state="thin"), "75 Greed (thin)"),
        (lambda: reading(value=None, state="calibrating"), "calibrating"),
        (lambda: reading(value=None, state="<script>&"), "<script>&"),
    ],
)
def test_the_badge_says_value_and_class_or_why_there_is_none(made: Callable[[], Reading | None], text: str) -> None:
    shown = made()
    assert badge_text(shown) == text
    drawn = ElementTree.fromstring(svg_badge(shown))
    assert text in [element.text for element in drawn.iter("{http://www.w3.org/2000/svg}text")]
    image = Image.open(BytesIO(png_badge(shown)))
    assert (image.format, image.height) == ("PNG", 40)


def test_the_badges_text_has_enough_contrast() -> None:
    def luminance(colour: str) -> float:
        parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    for value in (None, 10.0, 30.0, 50.0, 60.0, 90.0):
        light, dark = sorted(map(luminance, _colours(reading(value=value))), reverse=True)
        assert (light + 0.05) / (dark + 0.05) >= 4.5, value


def test_an_export_of_the_past_does_not_change_with_what_is_added(database: DatabaseFile, tmp_path: Path) -> None:
    export(database, tmp_path / "a", PARAMETERS, NOW, T0 + DAY)
    with database.write() as connection:
        insert_index(connection, [replace(published_hour(T0, 1), computed_at=T0 + DAY + timedelta(seconds=1))])
    export(database, tmp_path / "b", PARAMETERS, NOW, T0 + DAY)
    for name in DICTIONARY:
        assert (tmp_path / "a" / f"{name}.csv").read_bytes() == (tmp_path / "b" / f"{name}.csv").read_bytes()
