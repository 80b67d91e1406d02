"""Passes on a serverless worker, killed with SIGKILL while it answers with faults: each post scored, the cap held, no
worker left, and the ledger never below the bill."""

import time
from decimal import Decimal
from pathlib import Path

import pytest
from forked import ForkedProcess, run_script
from installation import REPOSITORY
from vision_world import KIND, NOON, post
from worker_world import WorkerWorld, worker_world

from bizcharts_pipeline.demo.pods.faults import PodFaults

WORKER = REPOSITORY / "tests" / "scoring" / "score_worker.py"
CAP = Decimal(3)
PASSES, SECONDS = 30, 120
KINDS = ("run_fails", "run_lands", "run_hangs", "run_429", "job_fails", "job_retried", "job_forgotten", "slow_start")


def start(world: WorkerWorld) -> ForkedProcess:
    """Start a pass over all posts."""
    environment = world.environment(NOON)
    return ForkedProcess(run_script, [str(WORKER)], folder=REPOSITORY, environment=environment, merged=True)


def kill_at(world: WorkerWorld, jobs: int) -> bool:
    """Kill a pass as soon as the queue has got so many more jobs; return whether it had not ended."""
    queued = world.serverless.endpoints[0].jobs
    before, process = len(queued), start(world)
    while process.poll() is None and len(queued) < before + jobs:
        time.sleep(0.002)
    killed = process.poll() is None
    process.kill()
    process.communicate()
    return killed


def survive(world: WorkerWorld, posts: int) -> None:
    """Score ``posts`` posts through faults and kills, and check all that is promised."""
    texts = {n: f"{'we are so back' if n % 3 else 'it is over'}, post number {n}" for n in range(1, posts + 1)}
    post(world.database, texts)
    world.usd_per_day = CAP
    start(world).communicate()
    kills = 0
    while kills < 3:
        kills += kill_at(world, 1)
    for _ in range(PASSES):
        process = start(world)
        output, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, output
        assert world.serverless.bill() <= CAP
        if not world.waiting:
            break
    assert not world.waiting
    assert set(world.methods) == set(texts)
    assert set(world.counted()) <= {(KIND, None), (world.fallback, None)}
    assert world.counted()[KIND, None] == posts
    bill = world.until_stopped()
    assert bill <= world.cost.usd <= CAP
    assert world.cost.posts == posts
    known = world.cost.usd - world.cost.assumed_usd
    assert known <= bill + 2 * Decimal("1.12") / 3600 * len(world.serverless.lives)
    queued = len(world.serverless.endpoints[0].jobs)
    world.seconds_per_tick = None
    assert world.score(None).scored == 0
    assert len(world.serverless.endpoints[0].jobs) == queued
    assert world.serverless.running == 0


@pytest.mark.slow
@pytest.mark.fault(
    "SIGKILL", stage="vision scoring", expected="each post scored by the worker; the cap held, no worker left"
)
def test_kills_and_faults_lose_no_post_pass_no_cap_and_leave_no_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faults = PodFaults(seed=11, hang_seconds=0, **dict.fromkeys(KINDS, 0.03))
    with worker_world(tmp_path, monkeypatch, faults, speed=60) as world:
        survive(world, 700)
