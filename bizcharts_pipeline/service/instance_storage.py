"""Dagster's own records (runs, events, schedules) in PostgreSQL: a schema beside the ledgers, shared by all."""

import re
from contextlib import closing
from urllib.parse import urlencode

from bizcharts_pipeline.core import postgres

SCHEMA = "dagster"
_WORD = re.compile(r"(\w+)=(\S+)")
_STORAGE = """
# Dagster's records, in PostgreSQL beside the ledgers, so that all machines share them. There is no password here:
# libpq takes it from PGPASSWORD or ~/.pgpass.
storage:
  postgres:
    postgres_url: "{url}"
"""


def in_postgres(words: str) -> str:
    """Create the schema for Dagster's records in the database with the connection string ``words``, and return the
    section of ``dagster.yaml`` that names it.

    Raises:
        sqlite3.Error: it cannot be created.
    """
    with closing(postgres.connect(words, SCHEMA, postgres.AWAY_SECONDS)) as connection:
        connection.create()
    options = {"options": f"-c search_path={SCHEMA}", "connect_timeout": str(postgres.CONNECT_SECONDS)}
    return _STORAGE.format(url=f"postgresql+psycopg2:///?{urlencode(dict(_WORD.findall(words)) | options)}")


def check(words: str) -> None:
    """Check that the database with the connection string ``words`` can be reached.

    Raises:
        sqlite3.Error: it cannot.
    """
    postgres.connect(words, SCHEMA, postgres.AWAY_SECONDS).close()
