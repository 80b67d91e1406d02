"""A PostgreSQL server of the tests' own, in a temporary folder, run by a user without privileges."""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.ports import free_port

SECONDS = 60
PASSWORD = "correct horse"  # of the role `guarded`; every other one is trusted
_CONFIGURATION = """
listen_addresses = '127.0.0.1{also}'
port = {port}
unix_socket_directories = '{folder}'
max_connections = 300
shared_buffers = 32MB
"""
_ACCESS = """
local all all trust
host all guarded 127.0.0.1/32 scram-sha-256
host all all 127.0.0.1/32 trust
"""
_numbers = count(1)


@dataclass
class Postgres:
    """A server on loopback; its superuser is ``postgres``."""

    folder: Path
    programs: Path
    port: int
    _server: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> None:
        """Start the server and wait until it answers."""
        with (self.folder / "log").open("ab") as log:
            self._server = subprocess.Popen(
                [self.programs / "postgres", "-D", self.folder / "data"], stdout=log, stderr=log, **_unprivileged()
            )
        deadline = time.monotonic() + SECONDS
        ready = [str(self.programs / "pg_isready"), "-q", "-h", str(self.folder), "-p", str(self.port)]
        while subprocess.run(ready).returncode:
            assert self._server.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(0.05)

    def kill(self) -> None:
        """Kill -9 the server with all its processes; a server that is started again recovers from its log."""
        assert self._server
        children = subprocess.run(["pgrep", "-P", str(self._server.pid)], capture_output=True, text=True).stdout.split()
        for process in (self._server.pid, *map(int, children)):
            with suppress(ProcessLookupError):  # it ends when the first is gone
                os.kill(process, signal.SIGKILL)
        self._server.wait()

    def stop(self) -> None:
        """Stop the server at once."""
        if self._server and self._server.poll() is None:
            self._server.send_signal(signal.SIGQUIT)
            self._server.wait(SECONDS)

    def query(self, sql: str, database: str = "postgres") -> str:
        """Return what psql prints."""
        command = [str(self.programs / "psql"), "-XAtq", "-h", str(self.folder), "-p", str(self.port), "-U", "postgres"]
        done = subprocess.run([*command, "-d", database, "-c", sql], capture_output=True, text=True, timeout=SECONDS)
        assert done.returncode == 0, done.stderr
        return str(done.stdout).strip()

    def new_lake(self) -> str:
        """Return the address of a new, empty database, for a lake."""
        name = f"lake{next(_numbers)}"
        self.query(f"CREATE DATABASE {name}")
        return self.address(name)

    def address(self, database: str, user: str = "postgres") -> str:
        return f"ducklake:postgres:dbname={database} host=127.0.0.1 port={self.port} user={user}"


@contextmanager
def running_postgres(network: str = "") -> Iterator[Postgres]:
    """Start a server, and stop it at the end; ``network`` is another address of this machine at which it listens, and
    whose neighbours it trusts.
    """
    if find_spec("duckdb_extension_ducklake") is None or find_spec("psycopg2") is None:
        _without("the extra `lake` is not installed: `make install-lake`")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parts[4]), reverse=True)
    needed = ("initdb", "postgres", "psql", "pg_isready")
    programs = next((place for place in places if all((place / name).exists() for name in needed)), None)
    if programs is None:
        _without("no PostgreSQL server is installed: `apt-get install postgresql`")
    with tempfile.TemporaryDirectory(prefix="postgres-") as name:
        folder, port = Path(name), free_port()
        if "user" in _unprivileged():
            shutil.chown(folder, str(_unprivileged()["user"]))
        make = [str(programs / "initdb"), "-D", str(folder / "data"), "-U", "postgres", "-A", "trust", "-E", "UTF8"]
        subprocess.run([*make, "--locale", "C"], check=True, stdout=subprocess.DEVNULL, **_unprivileged())
        with (folder / "data" / "postgresql.conf").open("a") as file:
            file.write(_CONFIGURATION.format(port=port, folder=folder, also=f", {network}" if network else ""))
        neighbours = f"host all all {network}/24 trust\n" if network else ""
        (folder / "data" / "pg_hba.conf").write_text(_ACCESS + neighbours)
        server = Postgres(folder, programs, port)
        server.start()
        try:
            server.query(f"CREATE ROLE guarded LOGIN SUPERUSER PASSWORD '{PASSWORD}'")
            yield server
        finally:
            server.stop()


def _unprivileged() -> dict[str, Any]:
    """Arguments for a process that must not run as root."""
    if os.getuid():
        return {}
    users = Path("/etc/passwd").read_text()
    return {"user": "postgres" if "\npostgres:" in users else "nobody", "group": os.getgid(), "cwd": "/"}


def _without(reason: str) -> NoReturn:
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)
