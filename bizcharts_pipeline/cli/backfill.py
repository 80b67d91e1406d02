"""Launches a Dagster backfill of the archive's days, as the Dagster UI does; the backfill then runs in Dagster."""

import fcntl
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, Literal

from bizcharts_pipeline.core.clock import DAY
from bizcharts_pipeline.core.counted import counted
from bizcharts_pipeline.core.errors import BizchartsError
from bizcharts_pipeline.core.files import regular_only
from bizcharts_pipeline.settings import REPOSITORY_ROOT
from bizcharts_pipeline.warehouse.archive_days import complete_days
from bizcharts_pipeline.warehouse.database import Database

ANSWER_SECONDS = 120
Way = Literal["between", "onwards", "before"]
_LAUNCH = """
mutation Launch($params: LaunchBackfillParams!) {
  launchPartitionBackfill(backfillParams: $params) {
    __typename
    ... on LaunchBackfillSuccess { backfillId }
    ... on PythonError { message }
    ... on UnauthorizedError { message }
    ... on PartitionKeysNotFoundError { message }
  }
}
"""
_UNDER_WAY = """
{
  partitionBackfillsOrError(status: REQUESTED) {
    __typename
    ... on PartitionBackfills { results { id assetSelection { path } partitionNames } }
    ... on PythonError { message }
  }
}
"""
ASSET = "warosu_posts"
LOCK = "backfill.lock"  # in the home: prevents concurrent commands from launching the same days


class BackfillRefused(BizchartsError):
    """A backfill cannot be launched; the message is the reason."""


@dataclass(frozen=True)
class LaunchedBackfill:
    """A backfill queued or run by the Dagster daemon."""

    backfill_id: str
    days: int
    first: date
    last: date
    ui: str  # address of the Dagster UI

    def __str__(self) -> str:
        return (
            f"Backfill {self.backfill_id}: {counted(self.days, 'day')}, {self.first} to "
            f"{self.last}. It runs while Dagster does "
            f"(`make serve` or `make dev`); watch it at {self.ui}/overview/backfills"
        )


@dataclass(frozen=True)
class BackfillUnderWay:
    """All requested days belong to active backfills; none was launched."""

    backfill_ids: tuple[str, ...]
    days: int
    first: date
    last: date

    def __str__(self) -> str:
        return (
            f"Nothing was launched: backfill {', '.join(self.backfill_ids)} already has these {self.days:,} days. It "
            "runs while Dagster does (`make serve` or `make dev`)"
        )


def check_days(archive_start: date, now: datetime, first: date, last: date | None) -> None:
    """Refuse days given on the command line that the archive cannot have; ``now`` is naive UTC.

    Raises:
        BackfillRefused: a day is before ``archive_start``, or has not ended.
    """
    yesterday = now.date() - DAY
    if first < archive_start:
        raise BackfillRefused(f"--from {first} is before {archive_start}, which is BIZCHARTS_ARCHIVE_START")
    if last and last > yesterday:
        raise BackfillRefused(f"--to {last} has not ended yet; the last complete day (UTC) is {yesterday}")
    if first > yesterday:
        raise BackfillRefused(f"--from {first} is after {yesterday}, the last complete day (UTC)")


def days_to_fetch(
    database: Database,
    archive_start: date,
    now: datetime,
    way: Way,
    first: date | None = None,
    last: date | None = None,
) -> list[date]:
    """Return the days that the command asks to fetch and that are not complete yet, oldest first; ``now`` is naive UTC.

    ``between`` means ``first`` to ``last`` (by default yesterday), ``onwards`` from the last complete day to yesterday,
    ``before`` from ``archive_start`` to before the earliest complete day.

    Raises:
        BackfillRefused: there is no such range of days.
    """
    yesterday = now.date() - DAY
    with database.read() as connection:
        complete = complete_days(connection)
    if way != "between" and not complete:
        raise BackfillRefused("No day is complete yet: name the first one with --from")
    if way == "onwards":
        first, last = max(complete) + DAY, yesterday
    elif way == "before":
        first, last = archive_start, min(complete) - DAY
    else:
        first = first or archive_start
        check_days(archive_start, now, first, last)
        last = last or yesterday
    days = (first + DAY * number for number in range((last - first).days + 1))
    return [day for day in days if day not in complete]


def launch_backfill(days: Sequence[date], home: Path, ui: str) -> LaunchedBackfill | BackfillUnderWay:
    """Launch for the command a backfill of those of the archive's ``days`` (at least one) that no active backfill has;
    ``ui`` is the address at which it can be watched.

    Raises:
        BackfillRefused: Dagster refused it; the message is the reason.
    """
    home.mkdir(parents=True, exist_ok=True)
    with open(home / LOCK, "w", opener=regular_only) as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        under_way = _days_under_way()
        wanted = [day for day in days if day not in under_way]
        if not wanted:
            return BackfillUnderWay(tuple(sorted({under_way[day] for day in days})), len(days), min(days), max(days))
        params = {
            "assetSelection": [{"path": [ASSET]}],
            "partitionNames": [day.isoformat() for day in wanted],
            "runConfigData": {"loggers": {"console": {}}},  # one line per warning, as in all jobs
            "title": f"Warosu {min(wanted)} to {max(wanted)}",
        }
        response = _query(_LAUNCH, {"params": params})["launchPartitionBackfill"]
    if "backfillId" not in response:
        raise BackfillRefused(f"Dagster refused the backfill: {response.get('message', response['__typename'])}")
    return LaunchedBackfill(response["backfillId"], len(wanted), min(wanted), max(wanted), ui)


def _days_under_way() -> dict[date, str]:
    """Return the days of active backfills, each with its backfill's id."""
    response = _query(_UNDER_WAY, {})["partitionBackfillsOrError"]
    if "results" not in response:
        raise BackfillRefused(f"Dagster did not list its backfills: {response.get('message', response['__typename'])}")
    return {
        date.fromisoformat(name): backfill["id"]
        for backfill in response["results"]
        if {"path": [ASSET]} in (backfill["assetSelection"] or [])
        for name in backfill["partitionNames"] or []
    }


def _query(query: str, variables: dict[str, object]) -> dict[str, Any]:
    """Return Dagster's response to a GraphQL query; it goes to the instance directly, so no web server is needed."""
    program = "from dagster_graphql.cli import main; main()"
    arguments = ["-t", query, "-v", json.dumps(variables)]
    command = [sys.executable, "-c", program, "-w", "workspace.yaml", *arguments]
    try:
        finished = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        raise BackfillRefused(f"Dagster did not respond within {ANSWER_SECONDS} s; try again") from None
    try:
        # Its code server logs to the same output.
        (line,) = (line for line in finished.stdout.splitlines() if line.startswith("{"))
        response: dict[str, Any] = json.loads(line)["data"]
        (value,) = response.values()
        value["__typename"]
    except (ValueError, KeyError, TypeError, AttributeError):
        output = (finished.stdout + finished.stderr).strip()
        raise BackfillRefused(f"Dagster's response is malformed: {output[-500:]}") from None
    return response
