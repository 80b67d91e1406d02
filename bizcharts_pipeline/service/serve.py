"""The unattended service: Dagster's daemon, code server and web server, with the index in the log once an hour."""

import fcntl
import hashlib
import os
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bizcharts_pipeline.alerts.destinations import check_destinations
from bizcharts_pipeline.core import postgres
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.file_lock import try_lock
from bizcharts_pipeline.core.files import regular_only, write_atomically
from bizcharts_pipeline.core.listening import http_address
from bizcharts_pipeline.core.private import user_folder
from bizcharts_pipeline.service import code_server, daemon_turn, plain_log, program, webserver
from bizcharts_pipeline.service.daemon_turn import DaemonTurn
from bizcharts_pipeline.service.health import MIN_FREE_BYTES
from bizcharts_pipeline.service.jobs import MODULE, environment, instance_folder
from bizcharts_pipeline.service.login import VARIABLE, password_of
from bizcharts_pipeline.service.supervisor import Child, Supervisor
from bizcharts_pipeline.settings import ServeSettings, Settings, is_loopback
from bizcharts_pipeline.warehouse.database import Database
from bizcharts_pipeline.warehouse.installation import Installation

LOCK = "serve.lock"  # in the home; holds the id of the process
INSTANCE_LOCK = "instance.lock"  # in DAGSTER_HOME; holds the path of the home
WORKSPACE = "serve-workspace.yaml"
DAEMON = "daemon"
LOCATION = "bizcharts"  # as in workspace.yaml, or Dagster would treat the schedules as different ones
MIGRATION_SECONDS = 600
LEVEL = "warning"
NO_HISTORY = (
    "There is no history yet, and the index ranks a day among 60 earlier ones. Import them first, in another "
    "terminal, in about 35 minutes: .venv/bin/bizcharts import --last 60"
)
REPORT_EVERY_SECONDS = 3600.0
DISK_EVERY_SECONDS = 60.0
FIRST_INDEX_SECONDS = 120.0  # after the first ticks
READ_WAIT_SECONDS = 2.0
# While the code server restarts, Dagster warns with two stack traces that it cannot be reached. The supervisor has
# already reported the restart in one line, and the UI's Deployment page has the details.
QUIET = "ignore:Error loading repository location:UserWarning:dagster._core.workspace.context"


class ServiceError(BizchartsError):
    """The service cannot start; the message gives the reason."""


def serve(settings: Settings, say: Callable[[str], object], level: str = LEVEL) -> None:
    """Run the service until SIGTERM or SIGINT; its programs log from ``level`` up.

    Raises:
        BadPassword: the password of the UI cannot be used.
        BadDestination: an address for alerts is not allowed.
        ServiceError: the port is taken, or a service of this home or in this ``DAGSTER_HOME`` is already running.
        NoInstance: ``DAGSTER_HOME`` is not a usable folder.
        DatabaseLost: the database is missing, although the installation has had one.
        DatabaseError: the database is no file of DuckDB, or a file is in the place of the home.
    """
    home, installation = settings.home_path, Installation.of(settings)
    folder = instance_folder(environment(), settings.postgres)
    database = Database.configured(settings)
    database.check()
    check_destinations()
    has_login = password_of() is not None
    if not home.exists():  # check the ports first: a mistake must not create a folder
        _check_ports(settings.serve)
    home.mkdir(parents=True, exist_ok=True)
    with instance_lock(home), ExitStack() as locks:
        _check_ports(settings.serve)
        surroundings = environment() if level != LEVEL else with_plain_log(environment(), home)
        locks.enter_context(dagster_lock(folder, home))
        installation.begin()
        prepare_instance(surroundings, folder)
        children = programs(settings, home, level)
        if settings.postgres is not None:
            turn = locks.enter_context(DaemonTurn(settings.postgres, say))
            next(child for child in children if child.name == DAEMON).may_run = turn.is_ours
        reports = _Reports(settings, (*settings.data_folders, folder), say)
        if not database.exists():
            say(NO_HISTORY)
        address = http_address(settings.serve.host, settings.serve.port)
        say(f"BizCharts runs; its UI is at {address}, its data in {home}")
        if settings.serve.viewer_port:
            say(f"The UI for viewers is at {http_address(settings.serve.host, settings.serve.viewer_port)}")
        if not has_login and not is_loopback(address):
            say(f"Anyone who reaches {settings.serve.host} can start jobs: set {VARIABLE} (docs/security.md)")
        Supervisor(children, surroundings, folder, say, reports.tick).run()
        say("BizCharts has stopped.")


def with_plain_log(surroundings: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return ``surroundings`` in which Dagster's programs log one line for each event, without the warnings during a
    restart of the code server; the details go to a file in ``home``."""
    filters = [surroundings.get("PYTHONWARNINGS"), QUIET]
    details = str((home / plain_log.FILE).absolute())
    return {**surroundings, "PYTHONWARNINGS": ",".join(filter(None, filters)), plain_log.VARIABLE: details}


def prepare_instance(surroundings: Mapping[str, str], folder: Path) -> None:
    """Create the instance's databases, or migrate them after an upgrade of Dagster.

    Otherwise each program creates missing ones itself, and three that do so at once damage them.

    Raises:
        ServiceError: Dagster could not open its storage.
    """
    command = [sys.executable, "-m", "dagster", "instance", "migrate"]
    migrated = subprocess.run(
        command, env=dict(surroundings), cwd=folder, capture_output=True, text=True, timeout=MIGRATION_SECONDS
    )
    if migrated.returncode:
        last = (migrated.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ServiceError(f"Dagster cannot open its storage in {folder}: {last}")


def programs(settings: Settings, home: Path, level: str = LEVEL) -> list[Child]:
    """Return the programs: code server, daemon, and one web server or two. They share the code server, behind a socket
    that only this user can access."""
    # A home's path may be too long for a socket. A killed service leaves its socket, and the home has one service.
    code_socket = user_folder() / f"code-{hashlib.sha256(os.fsencode(home.absolute())).hexdigest()[:16]}.sock"
    code_socket.unlink(missing_ok=True)
    workspace = home / WORKSPACE
    text = f'load_from:\n  - grpc_server:\n      socket: "{code_socket}"\n      location_name: {LOCATION}\n'
    write_atomically(workspace, text.encode())
    levels = ["--log-level", level]
    children = [
        Child(
            "code server",
            program.command("dagster", *_code_server(level), "-m", MODULE, "-s", str(code_socket), *levels),
            probe=code_server.command(code_socket),
        ),
        Child(
            DAEMON,
            program.command("dagster._daemon", "run", "-w", str(workspace), *levels),
            needs=code_socket,
        ),
        Child("web server", webserver.command(settings.serve, workspace, level), needs=code_socket),
    ]
    if settings.serve.viewer_port:
        viewers = webserver.command(settings.serve, workspace, level, viewers=True)
        children.append(Child("viewers' web server", viewers, needs=code_socket))
    return children


def _code_server(level: str) -> list[str]:
    """Return the words of Dagster's code server. ``code-server start`` loads the code in a child process, so that the
    UI can load it again after a change; if that child dies, it starts no other. So it is for development alone.
    """
    if level != LEVEL:
        return ["code-server", "start"]
    return ["api", "grpc", "--lazy-load-user-code", "--use-python-environment-entry-point"]


@contextmanager
def instance_lock(home: Path) -> Iterator[None]:
    """Hold the exclusive lock on a home's service.

    Raises:
        ServiceError: another process holds it; the message has its id.
    """
    with _lock(home / LOCK, str(os.getpid())) as holder:
        if holder is not None:
            raise ServiceError(f"{home} is already in use by process {holder}; stop it first")
        yield


@contextmanager
def no_daemon(words: str | None) -> Iterator[None]:
    """Keep the daemon of every machine from running that shares the lake whose catalogue is in the database of the
    connection string ``words``; with ``None``, there is no lake.

    Raises:
        ServiceError: a service runs it.
    """
    if words is None:
        yield
        return
    try:
        with postgres.lock(words, daemon_turn.LOCK) as is_free:
            if not is_free:
                raise ServiceError("Another machine's service, or another move, uses the lake; stop all services first")
            yield
    except sqlite3.Error as error:
        raise ServiceError(str(error)) from None


@contextmanager
def dagster_lock(folder: Path, home: Path) -> Iterator[None]:
    """Hold the exclusive lock on the Dagster instance in ``folder`` for the service of ``home``: the daemons of two
    services would take runs from one queue, and write them into either home.

    Raises:
        ServiceError: a service holds it; the message has its home.
    """
    with _lock(folder / INSTANCE_LOCK, str(home)) as holder:
        if holder is not None:
            raise ServiceError(
                f"DAGSTER_HOME: {folder} is in use by the service of {holder}; set another DAGSTER_HOME for {home}"
            )
        yield


def refuse_other_home(folder: Path, home: Path) -> None:
    """Check that no service of another home would execute what is queued in the Dagster instance in ``folder``.

    Raises:
        ServiceError: such a service runs; the message has its home.
    """
    if (folder / INSTANCE_LOCK).exists():
        with open(folder / INSTANCE_LOCK, opener=regular_only) as lock:
            holder = lock.read().strip()
            if holder != str(home) and not try_lock(lock.fileno(), fcntl.LOCK_SH):
                raise ServiceError(
                    f"DAGSTER_HOME: {folder} is in use by the service of {holder}, which would import the days into "
                    f"that home; set the DAGSTER_HOME of the service of {home}"
                )


@contextmanager
def _lock(path: Path, content: str) -> Iterator[str | None]:
    """Lock the file ``path`` and write ``content`` to it; yield the content of another holder, which keeps the lock."""
    with open(path, "a+", opener=regular_only) as lock:
        if not try_lock(lock.fileno()):
            lock.seek(0)
            yield lock.read().strip()
            return
        lock.truncate(0)
        lock.write(f"{content}\n")
        lock.flush()
        yield None


def check_port(host: str, port: int, remedy: str = "set BIZCHARTS_SERVE__PORT or BIZCHARTS_SERVE__HOST") -> None:
    """Check that the service's web server can listen on the address; ``remedy`` is the advice in the error.

    Raises:
        ServiceError: the port is taken, or the address is not one of this machine.
    """
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise ServiceError(f"{host}:{port}: {error.strerror}; {remedy}") from None


def _check_ports(serve: ServeSettings) -> None:
    """Check the ports of the web servers, as :func:`check_port` does."""
    check_port(serve.host, serve.port)
    if serve.viewer_port:
        check_port(serve.host, serve.viewer_port, "set BIZCHARTS_SERVE__VIEWER_PORT to another one")


class _Reports:
    """Writes the index to the service's log once an hour, and a line once an hour while a disk is nearly full."""

    def __init__(self, settings: Settings, folders: Sequence[Path], say: Callable[[str], object]) -> None:
        self._settings = settings
        self._folders = folders
        self._say = say
        self._index_due = time.monotonic() + FIRST_INDEX_SECONDS
        self._disk_due = 0.0
        self._disk_said = -REPORT_EVERY_SECONDS

    def tick(self) -> None:
        now = time.monotonic()
        if now >= self._index_due:
            self._index_due = now + REPORT_EVERY_SECONDS
            self._say(current_index(self._settings))
        if now >= self._disk_due:
            self._disk_due = now + DISK_EVERY_SECONDS
            full = nearly_full(self._folders)
            if full and now - self._disk_said >= REPORT_EVERY_SECONDS:
                self._disk_said = now
                self._say(full)
            elif full is None:
                self._disk_said = now - REPORT_EVERY_SECONDS


def nearly_full(folders: Sequence[Path]) -> str | None:
    """Return the line of the service's log on the first of ``folders`` with little free space, ``None`` without one."""
    for folder in folders:
        try:
            free = shutil.disk_usage(folder).free
        except OSError as error:
            return f"The free space of {folder} is not known: {error.strerror}."
        if free < MIN_FREE_BYTES:
            return f"The disk of {folder} is nearly full, with {free / 1e6:,.0f} MB free; runs fail when it is full."
    return None


def current_index(settings: Settings) -> str:
    """Return the newest hour's reading in the line that the running service prints, or the reason why there is none."""
    from bizcharts_pipeline.warehouse.as_of import newest_readings
    from bizcharts_pipeline.warehouse.errors import DatabaseError

    try:
        database = Database.existing(settings).waiting(READ_WAIT_SECONDS)
        with database.read() as connection:
            readings = newest_readings(connection, "hour", 1)
    except DatabaseError as error:
        return f"index: {error}"
    if not readings:
        return "index: no reading yet"
    (now,) = readings
    number = (
        now.state if now.value is None else f"{now.value:.0f} ({now.lo:.0f} to {now.hi:.0f}), {now.label or now.state}"
    )
    return f"index of {now.bucket_start:%Y-%m-%d %H}:00 UTC: {number}; {counted(now.n, 'post')}"
