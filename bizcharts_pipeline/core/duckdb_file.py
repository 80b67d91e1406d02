"""What tells DuckDB's files from others, without DuckDB."""

from pathlib import Path

from bizcharts_pipeline.core.files import open_regular

_MAGIC, _MAGIC_AT = b"DUCK", 8


def is_duckdb(path: Path) -> bool:
    """Whether the file ``path`` has DuckDB's magic bytes."""
    with open_regular(path) as file:
        return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC
