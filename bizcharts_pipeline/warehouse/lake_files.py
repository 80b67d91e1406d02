"""Where the Parquet files of a lake are: in a folder, or in a bucket of an S3-compatible service.

Each place is marked with a file of its own, :data:`MARK`: a folder without it is an unmounted disk, a bucket without it
is that of another service or account.
"""

import os
from dataclasses import dataclass
from pathlib import Path

import duckdb

from bizcharts_pipeline.core.addresses import origin
from bizcharts_pipeline.core.errors import reason_of
from bizcharts_pipeline.core.files import read_regular, write_atomically
from bizcharts_pipeline.settings import BUCKET, key_address_problem
from bizcharts_pipeline.warehouse.catalogue import extension_file
from bizcharts_pipeline.warehouse.errors import DatabaseUnavailable
from bizcharts_pipeline.warehouse.values import quoted

MARK = "bizcharts-lake"
EXTENSION = "httpfs"  # of DuckDB, for buckets
_REGION = "us-east-1"
_TIMEOUT_SECONDS, _RETRIES = 20, 2


@dataclass(frozen=True)
class Folder:
    """A folder on a disk that all machines mount."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    def require_extension(self) -> None:
        """Do nothing: a folder needs no extension."""

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Do nothing: a folder needs no key."""

    def begin(self, connection: duckdb.DuckDBPyConnection, address: str) -> None:
        """Create the folder of the lake ``address``.

        Raises:
            DatabaseUnavailable: it has other files, or cannot be written to.
        """
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            for path in self.path.iterdir():
                if path.name != MARK or read_regular(path) != _note(address).encode():
                    raise _not_empty(self)
            write_atomically(self.path / MARK, _note(address).encode())
        except OSError as error:
            raise DatabaseUnavailable(f"{self}: the lake's files cannot be put there: {reason_of(error)}") from None

    def check(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Check that the folder is there.

        Raises:
            DatabaseUnavailable: its disk is not mounted here.
        """
        if not (self.path / MARK).is_file():
            raise DatabaseUnavailable(f"{self}: the lake's files are not there; mount the disk that holds them.")

    def has(self, connection: duckdb.DuckDBPyConnection, name: str) -> bool:
        """Whether the folder has the file ``name``, a path in it."""
        return (self.path / name).exists()


@dataclass(frozen=True)
class Bucket:
    """A prefix in a bucket, ``s3://BUCKET/PREFIX``.

    The service is Amazon's, or that of ``AWS_ENDPOINT_URL``; ``AWS_ACCESS_KEY_ID``, ``AWS_SECRET_ACCESS_KEY``,
    ``AWS_SESSION_TOKEN``, ``AWS_REGION`` and ``AWS_CA_BUNDLE`` mean what they mean to Amazon's tools.
    """

    url: str

    def __str__(self) -> str:
        return self.url

    def require_extension(self) -> None:
        """Check that DuckDB's extension for buckets is installed.

        Raises:
            DatabaseUnavailable: it is not.
        """
        extension_file(EXTENSION)

    def open(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Let the DuckDB of ``connection`` read and write the bucket; the key stays in its memory.

        Raises:
            DatabaseUnavailable: the extension is not installed, or a variable is missing or not valid.
        """
        secret = _secret(self.url)
        connection.execute(f"LOAD {quoted(str(extension_file(EXTENSION)))}")
        for setting, value in _SETTINGS.items():
            connection.execute(f"SET GLOBAL {setting} = {quoted(value)}")
        if bundle := os.environ.get("AWS_CA_BUNDLE"):
            connection.execute(f"SET GLOBAL ca_cert_file = {quoted(bundle)}")
        try:
            connection.execute(secret)
        except duckdb.Error:  # its message could repeat the statement
            raise DatabaseUnavailable(f"{self}: DuckDB does not accept the variables AWS_*.") from None

    def begin(self, connection: duckdb.DuckDBPyConnection, address: str) -> None:
        """Mark the prefix as that of the lake ``address``.

        Raises:
            DatabaseUnavailable: it has other objects.
            duckdb.Error: the service refuses, or does not answer.
        """
        found = connection.execute(f"SELECT file FROM glob({quoted(f'{self}/**')})").fetchall()
        if any(name != f"{self}/{MARK}" for (name,) in found) or (found and self._mark(connection) != _note(address)):
            raise _not_empty(self)
        if not found:
            connection.execute(
                f"COPY (SELECT {quoted(_note(address).rstrip())}) TO {quoted(f'{self}/{MARK}')} "
                "(FORMAT csv, HEADER false, DELIMITER '\t', QUOTE '')"
            )

    def check(self, connection: duckdb.DuckDBPyConnection) -> None:
        """Check that it is the bucket of the lake's files.

        Raises:
            DatabaseUnavailable: it is not.
            duckdb.Error: the service refuses, or does not answer.
        """
        if self._mark(connection) is None:
            raise DatabaseUnavailable(
                f"{self}: the lake's files are not there; AWS_ENDPOINT_URL or the key is that of another service."
            )

    def has(self, connection: duckdb.DuckDBPyConnection, name: str) -> bool:
        """Whether the bucket has the object ``name`` below the prefix.

        Raises:
            duckdb.Error: the service refuses, or does not answer.
        """
        return self._asked(connection, f"SELECT size FROM read_blob({quoted(f'{self}/{name}')})") is not None

    def _mark(self, connection: duckdb.DuckDBPyConnection) -> str | None:
        found = self._asked(connection, f"SELECT content FROM read_text({quoted(f'{self}/{MARK}')})")
        return None if found is None else str(found)

    def _asked(self, connection: duckdb.DuckDBPyConnection, query: str) -> object:
        """Return the answer to a question about an object; ``None`` if it does not exist."""
        try:
            found = connection.execute(query).fetchone()
        except duckdb.HTTPException as error:
            if error.status_code == 404:
                return None
            raise
        return found[0] if found else None


def place_of(text: str) -> Folder | Bucket:
    """Return the place that the setting ``database_files`` or the lake's catalogue names."""
    return Bucket(text.rstrip("/")) if text.startswith(BUCKET) else Folder(Path(text))


_SETTINGS = {
    "http_timeout": str(_TIMEOUT_SECONDS),
    "http_retries": str(_RETRIES),
    "enable_server_cert_verification": "true",  # with each of the extension's two HTTP clients
    "enable_curl_server_cert_verification": "true",
    "s3_uploader_max_filesize": "50GB",  # the smallest, as a file in work takes a ten-thousandth of memory
}


def _secret(scope: str) -> str:
    """Return the statement that gives DuckDB the key for ``scope``.

    Raises:
        DatabaseUnavailable: a variable is missing or not valid.
    """
    value = {name: os.environ.get(f"AWS_{name}", "") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")}
    if missing := [f"AWS_{name}" for name, text in value.items() if not text]:
        raise DatabaseUnavailable(f"{scope}: set {' and '.join(missing)} in the environment or in .env.")
    options = {
        "KEY_ID": value["ACCESS_KEY_ID"],
        "SECRET": value["SECRET_ACCESS_KEY"],
        "REGION": os.environ.get("AWS_REGION") or _REGION,
        "SCOPE": scope,
    }
    if token := os.environ.get("AWS_SESSION_TOKEN"):
        options["SESSION_TOKEN"] = token
    if url := os.environ.get("AWS_ENDPOINT_URL", "").rstrip("/"):
        problem = key_address_problem(url) or ("" if url.count("/") == 2 else "must be an address without a path.")
        if problem:
            raise DatabaseUnavailable(f"{scope}: AWS_ENDPOINT_URL {problem}")
        service = origin(url)
        options |= {"ENDPOINT": url.split("//")[1], "URL_STYLE": "path", "USE_SSL": str(service.scheme == "https")}
    listed = ", ".join(f"{name} {quoted(text)}" for name, text in options.items())
    return f"CREATE OR REPLACE SECRET lake (TYPE s3, {listed})"


def _note(address: str) -> str:
    return f"The Parquet files of {address}. Delete none, and add none: maintenance would delete it.\n"


def _not_empty(place: Folder | Bucket) -> DatabaseUnavailable:
    return DatabaseUnavailable(f"{place} is not empty; name a new folder for the lake's files.")
