"""``bizcharts serve``, as `make serve` runs it, asked through the GraphQL API that the UI uses."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg2
import requests
from installation import REPOSITORY, Installation
from ports import free_port

from bizcharts_pipeline.settings import postgres_words

START_SECONDS = 120

LAUNCH = """
mutation($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message }
  }
}
"""
STATUS = """
query($id: String!) {
  partitionBackfillOrError(backfillId: $id) { __typename ... on PartitionBackfill { status } }
}
"""
PARTITIONS = """
{ assetNodeOrError(assetKey: {path: ["warosu_posts"]}) {
    ... on AssetNode { partitionStats { numMaterialized numPartitions numFailed } } } }
"""
RUNS = """
{ runsOrError(filter: {statuses: [STARTED]}) { ... on Runs { results { runId tags { key value } } } } }
"""


@dataclass
class DagsterUI:
    """One ``bizcharts serve`` of an installation; started, killed and started again."""

    installation: Installation
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        command = [sys.executable, "-c", "from bizcharts_pipeline.cli.main import main; main()", "serve"]
        log = (self.installation.folder / "dagster.log").open("ab")
        self.process = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            env={**self.installation.environment(None), "BIZCHARTS_SERVE__PORT": str(self.port)},
            stdout=log,
            stderr=log,
            start_new_session=True,
        )
        wait_until(self._answers, START_SECONDS)

    def kill(self) -> None:
        """kill -9 all of it, as a power cut does."""
        assert self.process
        for pid in [*self.descendants(), self.process.pid]:
            kill(pid)
        self.process.wait()

    def stop(self) -> None:
        assert self.process
        os.killpg(self.process.pid, signal.SIGINT)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.kill()

    def ask(self, query: str, **variables: Any) -> Any:
        answer = requests.post(
            f"http://127.0.0.1:{self.port}/graphql", json={"query": query, "variables": variables}, timeout=60
        )
        return answer.json()["data"]

    def launch(self, days: Sequence[str]) -> str:
        params = {"assetSelection": [{"path": ["warosu_posts"]}], "partitionNames": list(days)}
        answer = self.ask(LAUNCH, params=params)["launchPartitionBackfill"]
        assert answer["__typename"] == "LaunchBackfillSuccess", answer
        return str(answer["backfillId"])

    def status(self, backfill: str) -> str:
        return str(self.ask(STATUS, id=backfill)["partitionBackfillOrError"]["status"])

    def wait_for(self, backfill: str, seconds: float) -> str:
        wait_until(lambda: not self.status(backfill).startswith("REQUESTED"), seconds)
        return self.status(backfill)

    def partitions(self) -> dict[str, int]:
        return dict(self.ask(PARTITIONS)["assetNodeOrError"]["partitionStats"])

    def started(self, backfill: str) -> list[str]:
        """The backfill's runs that are at work."""
        runs = self.ask(RUNS)["runsOrError"]["results"]
        return [run["runId"] for run in runs if {"key": "dagster/backfill", "value": backfill} in run["tags"]]

    def workers(self) -> list[int]:
        """The processes that work on runs now."""
        if self.installation.lake:
            lockers = self._lockers()  # the daemon holds one too, for its turn
            return [pid for pid in self.descendants() if pid in lockers and not self._is_daemon(pid)]
        return [pid for pid in self.descendants() if any(self._holds(pid, lock) for lock in self._locks())]

    def leaves(self) -> list[int]:
        """The descendants without a child of their own."""
        return [pid for pid in self.descendants() if not self._children().get(pid)]

    def descendants(self) -> list[int]:
        children = self._children()
        assert self.process
        found, open_ = [], [self.process.pid]
        while open_:
            below = children.get(open_.pop(), [])
            found += below
            open_ += below
        return found

    @staticmethod
    def _children() -> dict[int, list[int]]:
        children: dict[int, list[int]] = {}
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            except (OSError, ValueError):
                continue
            children.setdefault(parent, []).append(int(folder.name))
        return children

    def _lockers(self) -> set[int]:
        """The processes that hold a lock of the lake's server; each tells its number."""
        with contextlib.closing(psycopg2.connect(postgres_words(self.installation.lake))) as connection:
            cursor = connection.cursor()
            cursor.execute(
                "SELECT DISTINCT application_name FROM pg_stat_activity JOIN pg_locks USING (pid) "
                "WHERE locktype = 'advisory' AND granted AND datname = current_database()"
            )
            return {int(name.split()[-1]) for (name,) in cursor.fetchall()}

    @staticmethod
    def _is_daemon(pid: int) -> bool:
        with contextlib.suppress(OSError):
            return b"dagster._daemon" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return False

    def _locks(self) -> list[Path]:
        return list((self.installation.home / "runs").glob("*.run"))

    @staticmethod
    def _holds(pid: int, lock: Path) -> bool:
        try:
            return any(os.path.samefile(file, lock) for file in Path(f"/proc/{pid}/fd").iterdir())
        except OSError:
            return False

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.installation.folder / "dagster.log").read_text()[-3000:]
        try:
            return bool(self.ask("{ version }"))
        except requests.RequestException:
            return False


def kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds:g} s"
        time.sleep(0.5)
