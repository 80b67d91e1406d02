"""Launching a backfill of the archive's days, as the Dagster UI does: it then runs, and is watched, there."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Literal

from bizcharts_pipeline.clock import DAY
from bizcharts_pipeline.errors import BizchartsError
from bizcharts_pipeline.settings import REPOSITORY_ROOT
from bizcharts_pipeline.warehouse.archive_days import complete_days
from bizcharts_pipeline.warehouse.database import Database

ANSWER_SECONDS = 120
Way = Literal["between", "onwards", "before"]
_MUTATION = """
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


class BackfillRefused(BizchartsError):
    """No backfill can be launched; says why."""


@dataclass(frozen=True)
class LaunchedBackfill:
    """A backfill that waits for, or is worked on by, the Dagster daemon."""

    backfill_id: str
    days: int
    first: date
    last: date

    def __str__(self) -> str:
        return (
            f"Backfill {self.backfill_id}: {self.days:,} days, {self.first} to {self.last}. It runs while Dagster does "
            "(`make dev`); watch it at http://127.0.0.1:3000/overview/backfills"
        )


def days_to_fetch(
    database: Database,
    archive_start: date,
    now: datetime,
    way: Way,
    first: date | None = None,
    last: date | None = None,
) -> list[date]:
    """Return the days that are to be fetched and are not complete yet, oldest first; ``now`` is naive UTC.

    ``between`` means ``first`` to ``last`` (yesterday unless given), ``onwards`` from the last complete day to
    yesterday, ``before`` from ``archive_start`` to before the earliest complete day.

    Raises:
        BackfillRefused: there is no such span; says why.
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
        first, last = first or archive_start, last or yesterday
        if first > last:
            raise BackfillRefused(f"--from {first} is after --to {last}")
        if first < archive_start:
            raise BackfillRefused(f"--from {first} is before {archive_start}, where BIZCHARTS_ARCHIVE_START begins")
        if last > yesterday:
            raise BackfillRefused(f"--to {last} is not over yet; the last whole day (UTC) is {yesterday}")
    days = (first + DAY * number for number in range((last - first).days + 1))
    return [day for day in days if day not in complete]


def launch_backfill(days: Sequence[date]) -> LaunchedBackfill:
    """Ask Dagster for the archive's ``days`` (at least one).

    Raises:
        BackfillRefused: it was not taken; says why.
    """
    params = {
        "assetSelection": [{"path": ["warosu_posts"]}],
        "partitionNames": [day.isoformat() for day in days],
        "title": f"Warosu {min(days)} to {max(days)}",
    }
    program = "from dagster_graphql.cli import main; main()"
    question = ["-t", _MUTATION, "-v", json.dumps({"params": params})]
    command = [sys.executable, "-c", program, "-w", "workspace.yaml", *question]
    try:
        finished = subprocess.run(command, cwd=REPOSITORY_ROOT, capture_output=True, text=True, timeout=ANSWER_SECONDS)
    except subprocess.TimeoutExpired:
        raise BackfillRefused(f"Dagster did not answer within {ANSWER_SECONDS} s; try again") from None
    try:
        # The code server that it starts logs to the same output.
        (line,) = (line for line in finished.stdout.splitlines() if line.startswith("{"))
        answer = json.loads(line)["data"]["launchPartitionBackfill"]
    except (ValueError, KeyError, TypeError):
        output = (finished.stdout + finished.stderr).strip()
        raise BackfillRefused(f"Dagster did not take the backfill: {output[-500:]}") from None
    if "backfillId" not in answer:
        raise BackfillRefused(f"Dagster did not take the backfill: {answer.get('message', answer['__typename'])}")
    return LaunchedBackfill(answer["backfillId"], len(days), min(days), max(days))
