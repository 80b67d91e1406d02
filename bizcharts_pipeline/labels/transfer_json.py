"""Label files as JSON lines and Parquet."""

import json
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bizcharts_pipeline.labels.transfer_rows import RawRow, Value, column_name, named
from bizcharts_pipeline.warehouse.values import quoted, storable

_LONGEST_LINE = 1 << 24  # DuckDB's default limit
_PARQUET_TYPES = {
    "thread_id": "BIGINT",
    "posted_at": "TIMESTAMP",
    "sentiment_rating": "INTEGER",
    "labeled_at": "TIMESTAMP",
    "skipped": "BOOLEAN",
    "seconds": "DOUBLE",
    "probability": "DOUBLE",
    "image_visible": "BOOLEAN",
}
_YES_OR_NO = [name for name, kind in _PARQUET_TYPES.items() if kind == "BOOLEAN"]


class _RepeatedKey(Exception):
    """An object has a key twice, so its value is ambiguous."""


def write_jsonl(rows: Iterable[Mapping[str, Value]]) -> bytes:
    """Return the rows of a label file as one JSON object per line."""
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


def read_jsonl(text: str) -> Iterator[RawRow]:
    """Yield the lines of a JSON label file that are not blank."""
    for line, raw in enumerate(text.split("\n"), start=1):
        if not raw.strip():
            continue
        try:
            values = json.loads(raw, parse_float=_float, object_pairs_hook=_object)
        except _RepeatedKey as repeated:
            yield RawRow(line, raw, None, f"the key {str(repeated)!r:.60} occurs twice")
            continue
        except json.JSONDecodeError as error:
            yield RawRow(line, raw, None, f"not JSON at character {error.pos + 1:,}")
            continue
        except (ValueError, RecursionError):  # limits of the parser
            yield RawRow(line, raw, None, "a number is too long, or arrays or objects are nested too deeply")
            continue
        if isinstance(values, dict):
            yield RawRow(line, raw, named(values))
        else:
            yield RawRow(line, raw, None, "not a JSON object")


def _float(text: str) -> float | str:
    """Return a number with an exponent as text: as a thread number it has been rounded."""
    return text if "e" in text.lower() else float(text)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [column_name(name) for name, _ in pairs]
    for place, name in enumerate(names):
        if name in names[:place]:
            raise _RepeatedKey(name)
    return dict(pairs)


def _typed(row: dict[str, Any]) -> dict[str, Any]:
    return row | {name: None if row[name] is None else bool(row[name]) for name in _YES_OR_NO}


def write_parquet(rows: Iterable[Mapping[str, Value]], columns: Iterable[str]) -> bytes:
    """Return the ``rows`` of a label file as Parquet; NUL characters, which DuckDB cannot store, become U+FFFD."""
    import duckdb

    from bizcharts_pipeline.warehouse.interrupts import passed_on

    types = ", ".join(f"{quoted(column)}: {quoted(_PARQUET_TYPES.get(column, 'VARCHAR'))}" for column in columns)
    with (
        tempfile.TemporaryDirectory(prefix="bizcharts-") as folder,
        duckdb.connect() as connection,
        passed_on(connection),
    ):
        lines, parquet = Path(folder) / "labels.jsonl", Path(folder) / "labels.parquet"
        content = write_jsonl(
            row | {name: None if row[name] is None else bool(row[name]) for name in _YES_OR_NO}
            for row in map(storable, rows)
        )
        lines.write_bytes(content)
        longest = max(_LONGEST_LINE, *map(len, content.split(b"\n")))
        connection.execute(
            f"COPY (FROM read_json({quoted(str(lines))}, format = 'newline_delimited', columns = {{{types}}}, "
            f"maximum_object_size = {longest + 1})) "
            f"TO {quoted(str(parquet))} (FORMAT parquet)"
        )
        return parquet.read_bytes()
